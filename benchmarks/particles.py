"""How few particles rank candidates like a thousand, on models from runs of examples/pets.py.

    python benchmarks/particles.py RUN… --csv results/particles.csv --out docs/pictures/particles.png

CEM plans once in each of several states of a run. The candidates of its first and last iteration are then scored with
few particles, several times, and with a thousand. `rank` is Spearman's correlation of the two scores. `gain` is the
true score of the ten candidates that look best: 0 is the mean of all, 1 is the best ten. Without runs, the CSV is drawn
again.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor

from elites import cli
from elites.agents import PETS
from elites.dynamics import Dynamics, ProbabilisticEnsemble, Return
from elites.dynamics.rollout import Draw
from elites.planners import CEM
from elites.runs.load import load_pets

DRAWS, ELITES = 5, 10
COUNTS = (1, 2, 3, 5, 10, 20, 50)
FIELDS = ("task", "iteration", "noise", "particles", "rank", "gain")
Scores = Callable[[Tensor], Tensor]
Row = dict[str, str]


class Stratified(Dynamics[Draw]):
    """A model whose particles divide each normal's range among them: a Latin hypercube instead of independent ε."""

    def __init__(self, model: ProbabilisticEnsemble) -> None:
        self.model = model

    @property
    def chunk(self) -> int:
        return self.model.chunk

    def rollout(self, state: Tensor, actions: Tensor, drawn: Draw) -> Tensor:
        return self.model.rollout(state, actions, drawn)

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> Draw:
        draw: Draw = self.model.draw(particles, horizon, rng)
        assert draw.noise
        assert isinstance(draw.noise.epsilon, Tensor)
        shape = draw.noise.epsilon.shape
        stratum = torch.rand(shape, generator=rng).argsort(0)
        uniform = (stratum + torch.rand(shape, generator=rng)) / len(stratum)
        epsilon = math.sqrt(2) * torch.erfinv((2 * uniform - 1).clamp(-1 + 1e-6, 1 - 1e-6))
        return dataclasses.replace(draw, noise=dataclasses.replace(draw.noise, epsilon=epsilon), cache={})


def returns_of(agent: PETS, dynamics: Dynamics[Any], noise: Literal["common", "independent"], particles: int) -> Return:
    task, config = agent.task, agent.config
    known = Return(dynamics, task.reward, task.terminated, discount=config.discount, risk=config.risk)
    return dataclasses.replace(known, noise=noise, particles=particles)


def populations(agent: PETS, state: Tensor, rng: Generator) -> dict[str, Tensor]:
    """The candidates (1, N, H, A) of the first and the last iteration of a cold plan."""
    objective, asked = returns_of(agent, agent.model, "independent", 20).at(state, rng), list[Tensor]()

    def recorded(actions: Tensor) -> Tensor:
        asked.append(actions)
        return objective(actions)

    CEM().plan(recorded, agent.mpc.space, batch=(1,), rng=rng)
    return {"first": asked[0], "last": asked[-1]}


def contenders(agent: PETS, state: Tensor, rng: Generator) -> Iterator[tuple[str, int, Scores]]:
    """Every way to score candidates: (noise, particles, the scores with a new draw of the noise)."""

    def by(noise: Any, particles: int, dynamics: Dynamics[Draw], rough: bool = False) -> Scores:
        returns = returns_of(agent, dynamics, noise, particles)

        def scores(actions: Tensor) -> Tensor:
            objective: Any = returns.at(state, rng)
            return (objective.rough if rough else objective)(actions)[0]  # type: ignore[no-any-return]

        return scores

    for particles in COUNTS:
        yield "independent", particles, by("independent", particles, agent.model)
        yield "common", particles, by("common", particles, agent.model)
        yield "stratified", particles, by("common", particles, Stratified(agent.model))
        yield "common, bfloat16", particles, by("common", particles, agent.model, rough=True)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation of (N) and (N), without ties."""
    ranks = torch.stack([a.argsort().argsort(), b.argsort().argsort()]).double()
    return float(torch.corrcoef(ranks)[0, 1])


def gain(scores: Tensor, truth: Tensor) -> float:
    """The mean truth (N) of the ELITES best by scores (N): 0 is the mean of all, 1 is the mean of the truly best."""
    chosen, best = truth[scores.topk(ELITES).indices].mean(), truth.topk(ELITES).values.mean()
    return float((chosen - truth.mean()) / (best - truth.mean()))


@torch.no_grad()
def study(folder: Path, states: int, many: int, screen: cli.Screen) -> Iterator[Row]:
    """A row for every population and contender, with means over states and draws."""
    agent, settings = load_pets(folder, screen.warn)
    agent.model.config = dataclasses.replace(agent.model.config, sampling="bfloat16")  # only for `rough`
    rng = Generator().manual_seed(0)
    seen = agent.replay.column("state")
    seen = seen[len(seen) // 2 :]
    found: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for number, state in enumerate(seen[torch.randperm(len(seen), generator=rng)[:states], None]):
        ways, truly = list(contenders(agent, state, rng)), returns_of(agent, agent.model, "common", many)
        for iteration, actions in populations(agent, state, rng).items():
            screen.status(f"{settings.env}  state {number + 1}/{states}  {iteration} iteration")
            truth, again = (truly.at(state, rng)(actions)[0] for _ in range(2))
            scored = [(noise, particles, scores(actions)) for noise, particles, scores in ways for _ in range(DRAWS)]
            for noise, particles, scores in [*scored, ("common", many, again)]:
                pair = rank_correlation(scores, truth), gain(scores, truth)
                found.setdefault((iteration, noise, particles), []).append(pair)
    for (iteration, noise, particles), figures in found.items():
        rank, gained = (f"{x:.4f}" for x in np.mean(figures, 0))
        yield dict(zip(FIELDS, (settings.env, iteration, noise, str(particles), rank, gained), strict=True))


def panels(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of every task and population."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row['task'].rpartition('/')[2]}, {row['iteration']} iteration", []).append(row)
    return found


def draw(rows: list[Row], path: Path) -> None:
    from matplotlib import pyplot as plt

    found = panels(rows)
    lines = -(-len(found) // 2)
    figure, axes = plt.subplots(lines, 2, figsize=(8, 2.9 * lines), squeeze=False, layout="constrained")
    for axis, (title, panel) in zip(axes.flat, found.items(), strict=True):
        for noise in dict.fromkeys(row["noise"] for row in panel):
            curve = {int(row["particles"]): float(row["rank"]) for row in panel if row["noise"] == noise}
            axis.plot(COUNTS, [curve[count] for count in COUNTS], "o-", ms=4, label=noise)
        axis.set(xscale="log", xlabel="particles", title=title)
        axis.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("rank correlation")
    axes[0, 0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def table(rows: list[Row]) -> str:
    """Rank correlation / gain, in Markdown: a line for every noise and count."""
    found = panels(rows)
    cells: dict[tuple[str, int], list[str]] = {}
    for panel in found.values():
        for row in panel:
            figures = f"{float(row['rank']):.2f} / {float(row['gain']):.2f}"
            cells.setdefault((row["noise"], int(row["particles"])), []).append(figures)
    head = [f"| noise | particles | {' | '.join(found)} |", "| --- | ---: |" + " ---: |" * len(found)]
    return "\n".join(head + [f"| {noise} | {count} | {' | '.join(line)} |" for (noise, count), line in cells.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--out", type=Path, metavar="FILE.png")
    parser.add_argument("--states", type=int, default=8, metavar="N", help="number of states of every run")
    parser.add_argument("--many", type=int, default=1000, metavar="N", help="number of particles for the true scores")
    args = parser.parse_args()
    if args.runs:
        rows = [row for run in args.runs for row in study(run, args.states, args.many, cli.Screen())]
        args.csv.parent.mkdir(parents=True, exist_ok=True)
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    rows = list(csv.DictReader(args.csv.read_text().splitlines()))
    if args.out:
        draw(rows, args.out)
    print(table(rows))


if __name__ == "__main__":
    cli.run(main)
