"""Exact mean returns of policies in elites/Maze-v0, and whether they look at the maze.

    python benchmarks/maze.py                       # at random, and the best policy that sees nothing
    python benchmarks/maze.py outputs/maze/cem_ah-* # and what these searches hold

The maze is a table of 324 states, so a policy's mean return is exact. *Sees* is the largest difference of a choice's
share between two states, the mean over policies; 0 is a policy that does not look.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import elites
from elites import cli
from elites.agents.adversarial import prepared
from elites.agents.policy_search import PolicySearch
from elites.envs.maze import REACHED, STEP, Grid
from elites.networks.action_distributions import CategoricalAction

LIMIT = 10_000  # steps of an episode
GRID = 21  # shares of a choice that are tried
DRAWN = 100  # policies of a run that shows a drawn one
Array = NDArray[np.float64]


def worth(grid: Grid, shares: Array) -> float:
    """The mean return of choices with these shares (324, 3) of left, right and forward."""
    states = len(grid.next)
    moves = np.zeros((states, states))
    for choice in range(3):
        np.add.at(moves, (np.arange(states), grid.next[:, choice]), shares[:, choice])
    reward = STEP + REACHED * moves @ grid.goal
    moves[:, grid.goal] = 0  # the goal ends an episode
    value = np.zeros(states)
    for _ in range(LIMIT):
        value = reward + moves @ value
    return float(value[grid.start])


def blind(grid: Grid, *shares: float) -> float:
    """The mean return if the shares are the same everywhere."""
    return worth(grid, np.tile(np.array(shares), (len(grid.next), 1)))


def held(grid: Grid, folder: Path) -> tuple[float, float, float]:
    """The mean return of the policies that act in a run, the worst one's, and how much they see."""
    search = elites.load(folder)
    if not isinstance(search, PolicySearch) or search.spaces.state_size != grid.seen.shape[1]:
        raise ValueError(f"{folder}: expected a run of `elites search --env elites/Maze-v0`")
    seen = prepared(grid.seen, search.inputs)
    with torch.no_grad():
        points = search.points(DRAWN)
        shares = search.population.at(points, len(seen)).answers(seen.expand(len(points), -1, -1))
    if search.shown == "ensemble":
        shares = CategoricalAction(shares.sum(0), (3,)).shares()[None]
    returns = [worth(grid, of) for of in shares.double().numpy()]
    inside = shares[:, np.repeat(np.isin(grid.cells.ravel(), ["#", "G"], invert=True), 4)]
    return float(np.mean(returns)), min(returns), float((inside.amax(1) - inside.amin(1)).amax(-1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of policy searches")
    args = parser.parse_args()
    torch.set_num_threads(1)
    screen, grid = cli.Screen(), Grid()
    tried = [(a, b, 1 - a - b) for a, b in itertools.product(np.linspace(0, 1, GRID), repeat=2) if a + b < 1 - 1e-9]
    values = []
    for number, shares in enumerate(tried, 1):
        screen.status(f"policies that see nothing: {number} of {len(tried)}")
        values.append(blind(grid, *shares))
    left, right, forward = tried[int(np.argmax(values))]
    print("| policies | mean return | the worst one | sees |\n| --- | ---: | ---: | ---: |")
    print(f"| at random | {blind(grid, *[1 / 3] * 3):.1f} | | |")
    print(f"| left {left:.2f}, right {right:.2f}, forward {forward:.2f} | {max(values):.1f} | | |")
    for folder in args.runs:
        mean, worst, sees = held(grid, folder)
        print(f"| {folder.name} | {mean:.1f} | {worst:.1f} | {sees:.2f} |")


if __name__ == "__main__":
    cli.run(main)
