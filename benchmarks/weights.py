"""Draws the distributions of a few weights that policy searches hold, as histograms (Tang et al. 2021, Fig. 4).

    elites search --env elites/Maze-v0 --set generations=20 --out "outputs/weights/CEM, 2000 episodes"
    python benchmarks/weights.py outputs/weights/* --out docs/pictures/weights.png

Every row of the picture is a run, named after its folder, and every column is a weight. The policies are drawn as the
run draws them: from the hypernetwork of CEM-AH, and from CEM's distribution.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import elites
from elites import cli
from elites.agents.learner import Array
from elites.agents.policy_search import PolicySearch

BINS = 60


def drawn(run: Path, count: int) -> Array:
    """Policies (count, D) of a run's search."""
    search = elites.load(run)
    if not isinstance(search, PolicySearch):
        raise ValueError(f"{run}: expected a run of `elites search`, got one of {type(search).__name__}")
    search.shown = "drawn" if search.imitator is None else "generated"
    with torch.no_grad():
        return search.points(count).numpy()


def picture(policies: dict[str, Array], which: Array, file: Path) -> None:
    """A histogram for each run and weight. A weight has the same scale in all runs."""
    from matplotlib import pyplot

    size = (3.2 * len(which), 1.7 * len(policies))
    figure, panels = pyplot.subplots(len(policies), len(which), figsize=size, squeeze=False)
    for column, weight in enumerate(which):
        values = {name: points[:, weight] for name, points in policies.items()}
        reach = max(np.quantile(np.abs(each), 0.999) for each in values.values())
        for line, (name, each) in zip(panels[:, column], values.items(), strict=True):
            line.hist(each, BINS, range=(-reach, reach), color="tab:blue")
            line.set(yticks=[], xlim=(-reach, reach))
            line.set_title(f"{name}: weight {weight}" if not column else f"weight {weight}", fontsize=9, loc="left")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def spreads(policies: dict[str, Array]) -> str:
    """How wide the distributions are, and how far they are from a normal, as Markdown."""
    lines = ["| run | median spread of a weight | median excess kurtosis |", "| --- | ---: | ---: |"]
    for name, points in policies.items():
        apart = points - points.mean(0)
        std = apart.std(0)
        peak = (apart**4).mean(0) / np.maximum(std, 1e-12) ** 4 - 3
        lines.append(f"| {name} | {np.median(std):.4f} | {np.median(peak):.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--weights", nargs="+", type=int, metavar="INDEX", help="default: three at random")
    parser.add_argument("--count", type=int, default=2_000, help="policies to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of weights")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    args = parser.parse_args()
    policies = {run.name: drawn(run, args.count) for run in args.runs}
    sizes = {points.shape[1] for points in policies.values()}
    if len(sizes) > 1:
        raise ValueError(f"RUN: expected policies of one size, got {sorted(sizes)}")
    (size,) = sizes
    chosen = np.random.default_rng(args.seed).choice(size, min(3, size), replace=False)
    which = np.array(args.weights) if args.weights else np.sort(chosen)
    if which.min() < 0 or which.max() >= size:
        raise ValueError(f"--weights: expected indices from 0 to {size - 1}, got {which.tolist()}")
    picture(policies, which, args.out)
    print(spreads(policies))


if __name__ == "__main__":
    cli.run(main)
