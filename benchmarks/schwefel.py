"""Searches on the Schwefel function, whose many maxima lie far apart, by distribution (Tang et al. 2021, Fig. 1).

    python benchmarks/schwefel.py --searches 200 --csv results/schwefel.csv --out docs/pictures
    python benchmarks/schwefel.py --by mixture --searches 20

Every search scores 20 generations of 100 candidates, and learns from the ten best. A search has found the optimum if
its best value is within 1 of it. It has kept the optimum if a candidate of the last generation lies in its basin. The
hypernetwork is CEM-AH's, with its adversary: it draws the candidates itself.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from elites import Box, cli
from elites.agents import Population, Spaces
from elites.agents.adversarial import Imitation, Imitator
from elites.planners import CEM, CMAES, ClippedNormal, FullNormal, NormalMixture, TruncatedNormal, Uniform

REACH, OPTIMUM, BASIN = 500.0, 420.9687, 120.0  # of each entry; half of the basin's width is about 120
GENERATIONS, SAMPLES, ELITES = 20, 100, 10
SHOWN = (1, 4, 8, 20)  # generations in the picture
ROUGH = CEM(SAMPLES, GENERATIONS, ELITES, alpha=1.0, spread=1.0)
PLANNERS: dict[str, Any] = {
    "uniform": replace(ROUGH, distribution=Uniform()),
    "clipped normal": replace(ROUGH, distribution=ClippedNormal()),
    "truncated normal": replace(ROUGH, distribution=TruncatedNormal()),
    "full normal": replace(ROUGH, distribution=FullNormal()),
    "mixture": replace(ROUGH, distribution=NormalMixture()),
    "cma_es": CMAES(SAMPLES, GENERATIONS, spread=1.0),
}
EVERYONE = [*PLANNERS, "hypernetwork", "squared error"]


def schwefel(points: Tensor) -> Tensor:
    """(..., 2) -> (...): Σ x sin √|x| - 837.9658, which is 0 at the optimum."""
    return (points * points.abs().sqrt().sin()).sum(-1) - 2 * 418.98289


def searched(by: str, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The candidates (100, 2) and values (100) of each generation."""
    rng = Generator().manual_seed(seed)
    if by not in PLANNERS:
        yield from imitated(Imitation() if by == "hypernetwork" else Imitation(discriminator_steps=0), rng)
        return
    search = PLANNERS[by].begin(Box([-REACH] * 2, [REACH] * 2), rng=rng)
    while not search.done:
        points = search.ask()
        search.tell(values := schwefel(points))
        yield points, values


def imitated(settings: Imitation, rng: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """A hypernetwork imitates the elites of its own candidates. A policy's answer is a point, in any state."""
    world = Box([-REACH] * 2, [REACH] * 2)
    imitator = Imitator(settings, Population(Spaces.of(1, world)), rng)
    nothing = np.zeros((1, 1))
    for generation in range(1, GENERATIONS + 1):
        weights = imitator.drawn(SAMPLES)
        answers = imitator.population.at(weights).act(torch.zeros(SAMPLES, 1, 1))[:, 0]
        points = world.from_unit(answers)
        values = schwefel(points)
        best = values.topk(ELITES).indices
        if imitator.admits(float(values[best].mean())):
            imitator.take(weights[best], [nothing] * ELITES, float(values[best].mean()), None)
        imitator.learn(generation, None, lambda text: None)
        yield points, values


def row_of(by: str, seed: int) -> dict[str, str]:
    generations = list(searched(by, seed))
    best, (last, _) = max(float(values.max()) for _, values in generations), generations[-1]
    kept = bool(((last - OPTIMUM).abs() < BASIN).all(-1).any())
    return {"by": by, "seed": str(seed), "best": f"{best:.3f}", "found": str(int(best > -1)), "kept": str(int(kept))}


def table(rows: list[dict[str, str]]) -> str:
    lines = ["| distribution | searches | optimum found | optimum kept | median of the best value |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for by in dict.fromkeys(row["by"] for row in rows):
        same = [row for row in rows if row["by"] == by]
        shares = [f"{np.mean([int(row[key]) for row in same]):.0%}" for key in ("found", "kept")]
        best = f"{np.median([float(row['best']) for row in same]):.1f}"
        lines.append(f"| {' | '.join([by, str(len(same)), *shares, best])} |")
    return "\n".join(lines)


def draw(folder: Path, seed: int) -> None:
    """Writes schwefel.png: the candidates of some generations, under each distribution."""
    from matplotlib import pyplot

    everyone = [by for by in EVERYONE if by not in ("uniform", "truncated normal")]
    axis = torch.linspace(-REACH, REACH, 201)
    grid = schwefel(torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1))
    size = (2.4 * len(SHOWN), 2.4 * len(everyone))
    figure, panels = pyplot.subplots(len(everyone), len(SHOWN), figsize=size, sharex=True, sharey=True)
    for line, by in zip(panels, everyone, strict=True):
        generations = list(searched(by, seed))
        for panel, number in zip(line, SHOWN, strict=True):
            points, _ = generations[number - 1]
            panel.contourf(axis, axis, grid, levels=12, cmap="Greys", alpha=0.6)
            panel.plot(*points.T, ".", color="tab:blue", markersize=3)
            panel.plot(OPTIMUM, OPTIMUM, "*", color="gold", markeredgecolor="black", markersize=11)
            panel.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=[], yticks=[])
            if by == everyone[0]:
                panel.set_title(f"generation {number}")
        line[0].set_ylabel(by)
    figure.tight_layout()
    figure.savefig(folder / "schwefel.png", dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", nargs="+", default=EVERYONE, choices=EVERYONE, metavar="NAME", help=", ".join(EVERYONE))
    parser.add_argument("--searches", type=int, default=200, help="of each, with seeds from 0 on")
    parser.add_argument("--csv", type=Path, help="the file for a row of every search")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write schwefel.png there")
    parser.add_argument("--seed", type=int, default=0, help="of the searches in the picture")
    args = parser.parse_args()
    screen, rows = cli.Screen(), []
    for by in args.by:
        for seed in range(args.searches):
            screen.status(f"{by}  search {seed + 1}/{args.searches}")
            rows.append(row_of(by, seed))
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    print(table(rows))
    if args.out:
        draw(args.out, args.seed)


if __name__ == "__main__":
    cli.run(main)
