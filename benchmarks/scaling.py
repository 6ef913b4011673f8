"""The time of a plan as its horizon, samples, members and actions grow, and with several problems in one plan.

    python benchmarks/scaling.py --out docs/pictures/scaling.png --csv results/scaling.csv

The model, the reward and the sizes are those of `elites bench`, with HalfCheetah's sizes by default. Each round
measures every point once, in a random order, so a noisy machine slows all points equally. A straight line is fitted to
each curve. The title gives its largest relative distance from a point.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elites import Box, cli
from elites.agents import MPC
from elites.dynamics import Return
from elites.planners import CEM, CEMGD, Planner
from elites.runs.bench.setting import Setting, ensemble, given, reward

FIELDS = ("panel", "line", "value", "plan_ms_q1", "plan_ms_median", "plan_ms_q3")
ROUNDS = 7
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One point of one line."""

    panel: str
    planner: str
    value: int
    setting: Setting = Setting(18, 6)
    samples: int = 100
    problems: int = 1

    def plan(self) -> Callable[[], object]:
        """A warm plan, from another observation every time."""
        state, walk = given(replace(self.setting, rounds=50))
        planners: dict[str, Planner] = {
            "cem": CEM(self.samples, elites=10),
            "cem_gd": CEMGD(),
            "cem 50": CEM(10, elites=1),
        }
        one = torch.ones(self.setting.action)
        returns = Return(ensemble(self.setting, state), reward, particles=self.setting.particles)
        mpc = MPC(planners[self.planner], self.setting.horizon, returns, Box(-one, one), seed=0)
        starts = 0.1 * torch.randn(self.problems, self.setting.observation, generator=torch.Generator().manual_seed(1))
        observations = iter(walk)
        return lambda: mpc(next(observations) + starts)


def cases() -> list[Case]:
    found = [Case("horizon", "cem", n, Setting(18, 6, horizon=n)) for n in (5, 15, 30, 45, 60, 90)]
    found += [Case("samples", "cem", 5 * n, samples=n) for n in (20, 50, 100, 150, 200, 300)]
    found += [Case("members", "cem", n, Setting(18, 6, members=n, particles=4 * n)) for n in (1, 2, 3, 5, 8, 10)]
    found += [Case("actions", "cem", n, Setting(18, n)) for n in (1, 6, 12, 24, 36, 48)]
    for planner in ("cem 50", "cem_gd"):
        for particles in (5, 20):
            many = Setting(18, 6, particles=particles)
            found += [Case("problems", planner, n, many, problems=n) for n in (1, 2, 4, 8, 16)]
    return found


def measure(screen: cli.Screen) -> list[dict[str, Any]]:
    plans = {case: case.plan() for case in cases()}
    seconds: dict[Case, list[float]] = {case: [] for case in plans}
    for number in range(-2, ROUNDS):  # first a cold and a warm plan without a measurement
        for case in random.Random(number).sample(list(plans), len(plans)):
            screen.status(f"round {max(number + 1, 0)}/{ROUNDS}  {case.panel} {case.value}")
            began = time.perf_counter()
            plans[case]()
            if number >= 0:
                seconds[case].append(time.perf_counter() - began)
    rows = []
    for case, times in seconds.items():
        quartiles = (f"{1e3 * q:.2f}" for q in np.quantile(times, [0.25, 0.5, 0.75]))
        line = f"{case.planner}, {case.setting.particles} particles" if case.panel == "problems" else case.planner
        rows.append(dict(zip(FIELDS, (case.panel, line, case.value, *quartiles), strict=True)))
    return rows


def curves(rows: list[dict[str, Any]], panel: str) -> dict[str, Array]:
    """Every line's points (2, points): the growing number, and the median in milliseconds."""
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        if row["panel"] == panel:
            found.setdefault(row["line"], []).append([float(row["value"]), float(row["plan_ms_median"])])
    return {line: np.array(points).T for line, points in found.items()}


def straight(x: Array, y: Array) -> tuple[Array, float]:
    """The straight line at x with the least relative squared errors, and its largest relative error."""
    design = np.stack([np.ones_like(x), x], 1)
    line = design @ np.linalg.lstsq(design / y[:, None], np.ones_like(y), rcond=None)[0]
    return line, float(np.abs(line / y - 1).max())


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
    axes = grid.flat[:5]
    grid[1, 2].set_axis_off()
    titles = {"horizon": "horizon", "samples": "samples", "members": "members × 4 particles", "actions": "actions"}
    for axis, (panel, title) in zip(axes, titles.items(), strict=False):
        ((x, y),) = curves(rows, panel).values()
        fitted, worst = straight(x, y)
        axis.plot(x, y, "o")
        axis.plot(x, fitted, "-", color="gray", lw=1)
        axis.set(xlim=(0, None), ylim=(0, None))
        axis.set_title(f"{title}: a line within {worst:.0%}", fontsize=10)
    for axis in axes[:4]:
        axis.set_ylabel("one plan of CEM, ms")
    for line, (x, y) in curves(rows, "problems").items():
        axes[4].plot(x, y / (x * y[0]), "o-", ms=4, label=line)
    axes[4].axhline(0.5, color="gray", ls=":")
    axes[4].set(title="problems in one call", ylabel="time / as many single plans", xscale="log", ylim=(0, None))
    axes[4].set_xticks((1, 2, 4, 8, 16), ("1", "2", "4", "8", "16"))
    axes[4].minorticks_off()
    axes[4].legend(fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--out", type=Path, metavar="FILE.png")
    parser.add_argument("--draw", action="store_true", help="draw the CSV without measuring")
    args = parser.parse_args()
    if not args.draw:
        rows = measure(cli.Screen())
        args.csv.parent.mkdir(parents=True, exist_ok=True)
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    rows = list(csv.DictReader(args.csv.read_text().splitlines()))
    if args.out:
        draw(rows, args.out)


if __name__ == "__main__":
    cli.run(main)
