"""How many samples a plan needs: CEM against CEM-GD, as in Figure 4 of the CEM-GD paper.

    python benchmarks/sample_efficiency.py --out docs/pictures --csv results/sample_efficiency.csv

The task is smooth, not convex, and has 45 × 6 dimensions. Six pendulums in a row are joined by springs. They hang down
and must stand up, but their motors are too weak to lift them at once. The dynamics are known. Every point is the return
of 60 steps in closed loop from the same ten initial states, planned together.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from elites import Box, cli
from elites.agents import MPC
from elites.planners import (
    CEM,
    CEMGD,
    ClippedNormal,
    Coloured,
    Distribution,
    GradientAscent,
    Planner,
    Problem,
    SamplingPlanner,
    Search,
    TruncatedNormal,
)

try:
    import matplotlib
except ModuleNotFoundError:
    print('sample_efficiency: needs matplotlib: pip install "elites[plots]"', file=sys.stderr)
    sys.exit(2)

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LINKS, HORIZON, STEPS, STATES = 6, 45, 60, 10
GRAVITY, SPRING, MOTOR, FRICTION, TIME_STEP = 9.81, 3.0, 5.0, 0.1, 0.05


def dynamics(state: Tensor, action: Tensor) -> Tensor:
    """Rows of (θ, θ̇), six each, with θ = 0 upright, by semi-implicit Euler steps."""
    angle, speed = state[:, :LINKS], state[:, LINKS:]
    left = torch.cat([angle[:, :1], angle[:, :-1]], 1)
    right = torch.cat([angle[:, 1:], angle[:, -1:]], 1)
    spring = SPRING * (torch.sin(left - angle) + torch.sin(right - angle))
    speed = speed + TIME_STEP * (GRAVITY * torch.sin(angle) + spring - FRICTION * speed + MOTOR * action)
    return torch.cat([angle + TIME_STEP * speed, speed], 1)


def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    angle, speed = next_state[:, :LINKS], next_state[:, LINKS:]
    return (torch.cos(angle) - 0.01 * speed.square() - 0.01 * action.square()).sum(1)


@dataclass(frozen=True)
class ColdThenWarm(SamplingPlanner):
    """CEM-GD without its gradient: many samples for the first plan, then few."""

    cold: CEM
    warm: CEM

    def search(self, problem: Problem) -> Search:
        return (self.warm if problem.start else self.cold).search(problem)


WHITE, RED = TruncatedNormal(), ClippedNormal(Coloured(beta=2.0))


def cem(samples: int, distribution: Distribution = WHITE) -> CEM:
    """The paper's split: 5 iterations, or 100 samples in each iteration. 10 % are elites."""
    iterations = max(5, samples // 100)
    each = samples // iterations
    return CEM(samples=each, iterations=iterations, elites=max(1, each // 10), distribution=distribution)


def planners() -> Iterator[tuple[str, int, Planner]]:
    """(label, samples of each plan after the first, planner)."""
    first = {
        distribution: CEM(samples=3000, iterations=5, elites=300, distribution=distribution)
        for distribution in (WHITE, RED)
    }
    plain, adam = GradientAscent(), GradientAscent(direction="adam")
    for samples in (50, 150, 500, 1500, 5000):
        yield "CEM", samples, cem(samples)
    for samples in (50, 150, 500):
        yield "CEM, first plan of 15000", samples, ColdThenWarm(first[WHITE], cem(samples))
    for samples in (10, 50, 150, 500):
        yield "CEM-GD", samples, CEMGD(first[WHITE], cem(samples), plain)
    for samples in (10, 50, 150, 500):
        yield "CEM-GD, Adam's direction", samples, CEMGD(first[WHITE], cem(samples), adam)
    for samples in (50, 150, 500, 1500, 5000):
        yield "CEM, red noise", samples, cem(samples, RED)
    for samples in (10, 50, 150, 500):
        yield "CEM-GD, Adam's direction, red noise", samples, CEMGD(first[RED], cem(samples, RED), adam)
    yield "gradient alone", 1, GradientAscent(starts=1)


def drive(planner: Planner) -> tuple[Tensor, float]:
    """The return from each initial state (STATES), and the median seconds of a warm plan for all of them."""
    start = torch.Generator().manual_seed(0)
    state = torch.cat([math.pi + 0.5 * torch.randn(STATES, LINKS, generator=start), torch.zeros(STATES, LINKS)], 1)
    box = Box(-torch.ones(LINKS), torch.ones(LINKS))
    mpc = MPC.of(planner, horizon=HORIZON, dynamics=dynamics, reward=reward, space=box, seed=0)
    returns, seconds = torch.zeros(STATES), []
    for _ in range(STEPS):
        action = mpc(state)
        following = dynamics(state, action)
        returns += reward(state, action, following)
        state = following
        assert mpc.last is not None
        seconds.append(mpc.last.seconds)
    return returns, torch.tensor(seconds[1:]).median().item()


def measure(path: Path) -> list[dict[str, str]]:
    fields = ["planner", "samples", "mean_return", "standard_error", "plan_s", "returns"]
    rows = []
    print(f"{'planner':<38}{'samples':>8}{'return':>10}{'± s.e.':>8}{'plan':>11}")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        for label, samples, planner in planners():
            began = time.perf_counter()
            returns, seconds = drive(planner)
            error = (returns.std() / math.sqrt(STATES)).item()
            each = " ".join(f"{value:.1f}" for value in returns)
            values = [label, samples, f"{returns.mean():.1f}", f"{error:.1f}", f"{seconds:.4f}", each]
            rows.append(dict(zip(fields, map(str, values), strict=True)))
            writer.writerow(rows[-1])
            file.flush()
            print(
                f"{label:<38}{samples:>8}{returns.mean():>10.1f}{error:>8.1f}{1e3 * seconds:>8.0f} ms"
                f"   ({time.perf_counter() - began:.0f} s)",
                flush=True,
            )
    return rows


def draw(rows: list[dict[str, str]], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
    styles = {
        "CEM": ("#444444", "-"),
        "CEM, first plan of 15000": ("#9a9a9a", "-"),
        "CEM, red noise": ("#444444", "--"),
        "CEM-GD": ("#c2410c", "-"),
        "CEM-GD, Adam's direction": ("#f59e0b", "-"),
        "CEM-GD, Adam's direction, red noise": ("#f59e0b", "--"),
    }
    for label in dict.fromkeys(row["planner"] for row in rows):
        own = [row for row in rows if row["planner"] == label]
        x = [int(row["samples"]) for row in own]
        y = [float(row["mean_return"]) for row in own]
        error = [float(row["standard_error"]) for row in own]
        if len(own) == 1:
            axis.axhline(y[0], color="#2563eb", linestyle=":", label=label)
            continue
        colour, line = styles[label]
        axis.errorbar(x, y, error, marker="o", capsize=3, color=colour, linestyle=line, label=label)
    axis.set(xscale="log", xlabel="samples of a plan after the first", ylabel=f"return of {STEPS} steps")
    axis.set_title(f"Six pendulums, {HORIZON} × {LINKS} dimensions: mean and s.e. of {STATES} states", fontsize=10)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/pictures"), metavar="DIR")
    parser.add_argument("--csv", type=Path, default=Path("build/pictures/sample_efficiency.csv"), metavar="FILE")
    args = parser.parse_args()
    for folder in (args.out, args.csv.parent):
        folder.mkdir(parents=True, exist_ok=True)
    draw(measure(args.csv), args.out / "sample_efficiency.png")


if __name__ == "__main__":
    cli.run(main)
