"""Pictures of each planner's search on 2-D landscapes with many optima.

    python benchmarks/landscape.py --out docs/pictures
    python benchmarks/landscape.py --landscape schwefel --planner cem --planner my_package.my_module:MyPlanner

Each landscape is a PNG, each planner a panel. Dots are the candidates: the first are dark, the last are bright. A star
is the best point, a cross is the answer. The title tells how often the answer is the best point in 200 searches.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elites import Box, cli, config
from elites.planners import PLANNERS, Planner

try:
    import matplotlib
except ModuleNotFoundError:
    print('landscape: needs matplotlib: pip install "elites[plots]"', file=sys.stderr)
    sys.exit(2)

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SEARCHES = 200
SETTINGS: dict[str, dict[str, Any]] = {  # gives each planner about 300 candidates; other settings are defaults
    "random_shooting": {"samples": 300},
    "predictive_sampling": {"samples": 30, "iterations": 10},
    "cem": {"samples": 30, "iterations": 10, "elites": 5},
    "icem": {"samples": 45, "iterations": 10, "elites": 5},
    "mppi": {"samples": 30, "iterations": 10},
    "gradient_ascent": {"starts": 5},
    "cem_gd": {"cold": {"samples": 40, "iterations": 5, "elites": 8}, "top_k": 4},
    "grad_cem": {"cem": {"samples": 15, "iterations": 5, "elites": 3}},
}


def schwefel(x: Tensor) -> Tensor:
    """The negated function of the CEM-AH paper (Fig. 1) on [-500, 500]². The best optimum is far from the second."""
    x = 500 * x
    return (x * x.abs().sqrt().sin()).sum(-1)


def rastrigin(x: Tensor) -> Tensor:
    """A bowl with many dents on [-5.12, 5.12]². The best point is in their middle, away from the centre."""
    x = 5.12 * x - torch.tensor([1.3, -0.7])
    return -(x.square() - 10 * torch.cos(2 * math.pi * x)).sum(-1)


def himmelblau(x: Tensor) -> Tensor:
    """Four optima of the same height on [-5, 5]², and a tilt that makes one of them the best."""
    a, b = 5 * x[..., 0], 5 * x[..., 1]
    return -((a.square() + b - 11).square() + (a + b.square() - 7).square()) + 8 * (a + b)


LANDSCAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "schwefel": schwefel,
    "rastrigin": rastrigin,
    "himmelblau": himmelblau,
}


def draw(name: str, planners: dict[str, Planner], out: Path) -> None:
    side = torch.linspace(-1, 1, 801)
    grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
    landscape = LANDSCAPES[name]
    heights = landscape(grid)
    scale = heights.std()  # a planner gets the unit square and values of spread 1
    optimum = grid.flatten(0, 1)[heights.argmax()]
    columns = min(4, len(planners))
    rows = math.ceil(len(planners) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2 * columns, 2.35 * rows + 0.3), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(planners) :]:
        axis.set_axis_off()
    for axis, (label, planner) in zip(axes.flat, planners.items(), strict=False):
        asked: list[Tensor] = []

        def objective(x: Tensor, asked: list[Tensor] = asked) -> Tensor:
            asked.append(x.detach()[0])
            return landscape(x) / scale

        plan = planner.plan(
            objective, Box([-1.0, -1.0], [1.0, 1.0]), batch=(SEARCHES,), rng=torch.Generator().manual_seed(0)
        )
        found = ((plan.best - optimum).abs().amax(-1) < 0.05).float().mean().item()
        points = torch.cat(asked)
        when = torch.cat([torch.full((len(x),), i / max(len(asked) - 1, 1)) for i, x in enumerate(asked)])
        axis.contourf(side, side, heights, levels=24, cmap="Greys_r", alpha=0.75)
        axis.scatter(*points.T, c=when, cmap="plasma", s=4, linewidths=0, clip_on=False, zorder=3)
        axis.plot(*optimum, marker="*", color="white", markeredgecolor="black", markersize=11, zorder=4)
        axis.plot(*plan.best[0], marker="X", color="#00b3a4", markeredgecolor="black", markersize=6, zorder=5)
        axis.set_title(f"{label}\n{len(points)} candidates · found in {100 * found:.0f} %", fontsize=8)
        axis.set(xlim=(-1, 1), ylim=(-1, 1), xticks=[], yticks=[], aspect="equal")
    figure.suptitle(f"{name.capitalize()}: dark is low, bright is high; ★ the optimum, ✖ the answer", fontsize=9)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"landscape_{name}.png", dpi=160)
    plt.close(figure)
    print(out / f"landscape_{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landscape", choices=LANDSCAPES, help="draw only this one")
    parser.add_argument("--planner", action="append", help="a name, a YAML file or package.module:Class; repeatable")
    parser.add_argument("--out", type=Path, default=Path("build/pictures"), metavar="DIR")
    args = parser.parse_args()
    planners = {}
    for name in args.planner or PLANNERS:
        planners[name] = config.build(Planner, SETTINGS.get(name, {}) | config.named(name), name)  # type: ignore[type-abstract]
    for landscape in [args.landscape] if args.landscape else LANDSCAPES:
        draw(landscape, planners, args.out)


if __name__ == "__main__":
    cli.run(main)
