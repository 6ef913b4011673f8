"""The way round a barrier: how the samples of the first plan decide it, as in Figure 2 of the CEM-GD paper.

    python benchmarks/barrier.py --out docs/pictures --csv results/barrier.csv

A repelling disc is between a point and its goal, a little above the straight line. Both ways round it are local optima
of the plan; the lower way is better. The first plan has N_init samples, every later plan has 50. All trials of all
N_init run as one batch.
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
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elites import cli
from elites.agents import MPC
from elites.dynamics import Return
from elites.envs import Barrier
from elites.envs.barrier import DISC, GOAL, RADIUS, START, dynamics, reward
from elites.planners import CEM, CEMGD, ClippedNormal, Coloured, Distribution, GradientAscent, Planner, TruncatedNormal

try:
    import matplotlib
except ModuleNotFoundError:
    print('barrier: needs matplotlib: pip install "elites[plots]"', file=sys.stderr)
    sys.exit(2)

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Circle

SAMPLES = (10, 50, 150, 500, 1500, 5000)  # N_init, in five iterations
HORIZON, Z = 45, 1.96  # Z gives a 95 % interval
NOISES: dict[str, Distribution] = {"white": TruncatedNormal(), "red": ClippedNormal(Coloured(beta=2.0))}
ASCENTS = {
    "CEM": None,
    "CEM-GD": GradientAscent(),
    "CEM-GD, Adam's direction": GradientAscent(direction="adam"),
    "CEM-GD, a tenth of the step": GradientAscent(step=0.001),
}
ALONE = "gradient alone"
COLOURS = dict(zip([*ASCENTS, ALONE], ["#6b7280", "#c2410c", "#f59e0b", "#0f766e", "#2563eb"], strict=True))


@dataclass(frozen=True)
class Entry:
    """A planner with several settings for the first plan, and one for all later plans."""

    label: str
    noise: str
    samples: tuple[int, ...]
    first: tuple[Planner, ...]
    later: Planner


@dataclass(frozen=True)
class Outcome:
    first: Tensor  # (N, B, H, A): the first plans
    planned: Tensor  # (N, B): the way of each first plan, see `way`
    gone: Tensor  # (N, B): the way of the agent


def entries() -> Iterator[Entry]:
    for noise, distribution in NOISES.items():
        cold = [CEM(samples=n // 5, iterations=5, elites=max(1, n // 50), distribution=distribution) for n in SAMPLES]
        warm = CEM(samples=10, iterations=5, elites=1, distribution=distribution)
        for label, ascent in ASCENTS.items():
            first: list[Planner] = [CEMGD(cem, warm, ascent) if ascent else cem for cem in cold]
            yield Entry(label, noise, SAMPLES, tuple(first), first[0] if ascent else warm)
    alone = GradientAscent(starts=1)
    yield Entry(ALONE, "", (1,), (alone,), alone)


def trajectory(state: Tensor, actions: Tensor) -> Tensor:
    """The states under actions (R, H, A), with the first state: (R, H + 1, 2)."""
    states = [state]
    for action in actions.unbind(1):
        states.append(dynamics(states[-1], action))
    return torch.stack(states, 1)


def way(states: Tensor) -> Tensor:
    """(R, T, 2) -> (R): -1 below the disc's middle, 1 above it, 0 if it never passes the disc."""
    past = states[..., 0] >= DISC[0]
    where = past.to(torch.uint8).argmax(1, keepdim=True)
    height = states[..., 1].gather(1, where).squeeze(1)
    return torch.where(past.any(1), torch.where(height < DISC[1], -1, 1), 0)


def drive(entry: Entry, start: Tensor, steps: int, screen: cli.Screen) -> Outcome:
    """Runs agents from start (B, 2) until all have passed the disc."""
    env, returns = Barrier(), Return(dynamics, reward)
    mpc = MPC(entry.later, HORIZON, returns, env.action_space, seed=0)
    trials, first = len(start), []
    for samples, planner in zip(entry.samples, entry.first, strict=True):
        screen.status(f"{entry.label}, {entry.noise} noise: a first plan of {samples} samples")
        rng = torch.Generator().manual_seed(0)  # the same seed, so CEM-GD's gradient starts from CEM's first plan
        first.append(planner.plan(returns.at(start, rng), mpc.space, batch=(trials,), rng=rng).best)
    plans = torch.cat(first)
    state = start.repeat(len(first), 1)
    planned = way(trajectory(state, plans))
    path = [state, dynamics(state, plans[:, 0])]
    mpc.reset(guess=torch.cat([plans[:, 1:], plans[:, -1:]], 1))  # the first plan, one step later
    while len(path) <= steps and not (path[-1][:, 0] >= DISC[0]).all():
        screen.status(f"{entry.label}, {entry.noise} noise: step {len(path)}")
        path.append(dynamics(path[-1], mpc(path[-1])))
    shape = (len(first), trials)
    gone = way(torch.stack(path, 1))
    return Outcome(plans.reshape(*shape, *plans.shape[1:]), planned.reshape(shape), gone.reshape(shape))


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, spare = hits / trials, Z**2 / trials
    middle = (share + spare / 2) / (1 + spare)
    half = math.sqrt(spare * share * (1 - share) + spare**2 / 4) / (1 + spare)
    return max(0.0, middle - half), min(1.0, middle + half)


def measure(
    path: Path, start: Tensor, steps: int, screen: cli.Screen
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], Outcome]]:
    fields = ["planner", "noise", "samples", "trials", "below", "above", "share_below", "low", "high"]
    fields += ["first_plan_below", "first_plan_above"]
    rows, outcomes, trials = [], {}, len(start)
    screen.line(f"{'planner':<30}{'noise':<8}{'samples':>8}{'below':>8}{'95 %':>14}{'first plan below, above':>26}")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        for entry in entries():
            began = time.perf_counter()
            outcome = outcomes[entry.label, entry.noise] = drive(entry, start, steps, screen)
            for samples, planned, gone in zip(entry.samples, outcome.planned, outcome.gone, strict=True):
                below, above, first_below, first_above = (int((w == d).sum()) for w in (gone, planned) for d in (-1, 1))
                share, (low, high) = below / trials, wilson(below, trials)
                numbers = [f"{share:.3f}", f"{low:.3f}", f"{high:.3f}"]
                values = [entry.label, entry.noise, samples, trials, below, above, *numbers, first_below, first_above]
                rows.append(dict(zip(fields, values, strict=True)))
                writer.writerow(rows[-1])
                screen.line(
                    f"{entry.label:<30}{entry.noise:<8}{samples:>8}{share:>8.2f}{f'{low:.2f} – {high:.2f}':>14}"
                    f"{first_below / trials:>19.2f}{first_above / trials:>7.2f}"
                )
            file.flush()
            screen.line(f"({time.perf_counter() - began:.0f} s)")
    return rows, outcomes


def draw(rows: list[dict[str, Any]], outcomes: dict[tuple[str, str], Outcome], start: Tensor, path: Path) -> None:
    figure = plt.figure(figsize=(11, 6), layout="constrained")
    grid = figure.add_gridspec(2, 4, height_ratios=[1, 3])
    draw_plans(figure, grid, outcomes, start)
    draw_shares(figure, grid, rows)
    figure.savefig(path, dpi=110)
    print(path)


def draw_plans(figure: Any, grid: Any, outcomes: dict[tuple[str, str], Outcome], start: Tensor) -> None:
    """First plans before and after the gradient: one panel for each noise and number of samples."""
    for column, (noise, samples, wanted) in enumerate((n, *x) for n in NOISES for x in ((50, 1), (500, -1))):
        before, after = outcomes["CEM", noise], outcomes["CEM-GD", noise]
        at = SAMPLES.index(samples)
        trial = int(((after.planned[at] == wanted) & (after.gone[at] == wanted)).to(torch.uint8).argmax())
        axis = figure.add_subplot(grid[0, column])
        axis.add_patch(Circle(DISC, RADIUS, color="#d1d5db", linewidth=0))
        for plan, colour, label in ((before, "#dc2626", "sampled"), (after, "#2563eb", "after the gradient")):
            states = trajectory(start[trial : trial + 1], plan.first[at, trial : trial + 1])[0]
            axis.plot(states[:, 0], states[:, 1], color=colour, linewidth=1.4, marker=".", markersize=3, label=label)
        axis.plot(*START, "o", color="#111827", markersize=5)
        axis.plot(*GOAL, "*", color="#16a34a", markersize=11)
        axis.set(xlim=(-1.2, 1.5), ylim=(-0.5, 0.6), aspect="equal", xticks=[], yticks=[])
        goes = {-1: "below", 0: "nowhere", 1: "above"}[int(after.gone[at, trial])]
        axis.set_title(f"{noise} noise, {samples} samples: {goes}", fontsize=9)
        if column == 0:
            axis.legend(fontsize=7, loc="lower right", frameon=False)


def draw_shares(figure: Any, grid: Any, rows: list[dict[str, Any]]) -> None:
    """The share of trials that go below the disc, by the samples of the first plan."""
    shared = None
    for column, noise in enumerate(NOISES):
        axis = shared = figure.add_subplot(grid[1, 2 * column : 2 * column + 2], sharey=shared)
        for number, label in enumerate(ASCENTS):
            own = [row for row in rows if (row["planner"], row["noise"]) == (label, noise)]
            x = [row["samples"] * 1.05 ** (number - 1.5) for row in own]  # offset, so that points do not overlap
            y = [int(row["below"]) / int(row["trials"]) for row in own]
            error = [[v - float(row["low"]) for v, row in zip(y, own, strict=True)]]
            error += [[float(row["high"]) - v for v, row in zip(y, own, strict=True)]]
            line = "--" if label == "CEM" else "-"
            axis.errorbar(
                x, y, error, marker="o", markersize=4, capsize=2.5, color=COLOURS[label], linestyle=line, label=label
            )
        alone = rows[-1]
        axis.axhspan(float(alone["low"]), float(alone["high"]), color=COLOURS[ALONE], alpha=0.12, linewidth=0)
        axis.axhline(float(alone["share_below"]), color=COLOURS[ALONE], linestyle=":", label=ALONE)
        axis.set(xscale="log", xlabel="samples of the first plan, $N_{init}$", ylim=(0.42, 1.02))
        axis.set_title(f"{noise} noise", fontsize=10)
        axis.grid(alpha=0.25)
        if column == 0:
            axis.set_ylabel("share of trials that go below the disc")
        else:
            axis.legend(fontsize=8, loc="lower right")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/pictures"), metavar="DIR")
    parser.add_argument("--csv", type=Path, default=Path("build/pictures/barrier.csv"), metavar="FILE")
    parser.add_argument("--trials", type=int, default=200, metavar="N", help="trials for each number of samples (200)")
    parser.add_argument("--steps", type=int, default=60, metavar="N", help="the most steps of an agent (60)")
    args = parser.parse_args()
    if min(args.trials, args.steps) < 1:
        raise ValueError("--trials, --steps: expected integers of at least 1")
    for folder in (args.out, args.csv.parent):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the tensors are small, so more threads would only wait for each other
    env = Barrier()
    start = torch.from_numpy(np.stack([env.reset(seed=trial)[0] for trial in range(args.trials)])).float()
    rows, outcomes = measure(args.csv, start, args.steps, cli.Screen())
    draw(rows, outcomes, start, args.out / "barrier.png")


if __name__ == "__main__":
    cli.run(main)
