"""Exact mean returns of policies in elites/Maze-v0, and whether they look at the maze.

    python benchmarks/maze.py                       # at random, and the best policy that sees nothing
    python benchmarks/maze.py outputs/maze/cem_ah-* # and what these searches or agents hold

The maze is a table of 324 states, so a policy's mean return is exact. A policy of an agent draws its choices. *Sees*
is the largest difference of a choice's share between two states, the mean over policies; 0 is a policy that does not
look.
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
from elites.agents import Agent
from elites.agents.adversarial import prepared
from elites.agents.policy_search import PolicySearch
from elites.envs.maze import REACHED, STEP, Grid
from elites.networks.action_distributions import CategoricalAction
from elites.networks.policies import Policy

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


def held(folder: Path, seen: Array) -> dict[str, Array]:
    """{whose: choices' shares (n, 324, 3)} of the policies that act in a run, and of an ensemble's members alone."""
    search = elites.load(folder)
    if not isinstance(search, PolicySearch | Agent) or search.spaces.state_size != seen.shape[1]:
        raise ValueError(f"{folder}: expected a run of `elites search` or `elites learn` with --env elites/Maze-v0")
    if isinstance(search, Agent):
        return {folder.name: chosen(search, seen)}
    with torch.no_grad():
        points, states = search.points(DRAWN), prepared(seen, search.inputs)
        shares = search.population.at(points, len(states)).answers(states.expand(len(points), -1, -1))
    if search.shown != "ensemble":
        return {folder.name: shares.double().numpy()}
    together = CategoricalAction(shares.sum(0), (3,)).shares()[None]
    return {folder.name: together.double().numpy(), f"{folder.name}, one alone": shares.double().numpy()}


def chosen(agent: Agent, seen: Array) -> Array:
    """The choices' shares (1, 324, 3) of an agent's policy; without a policy, those of what it does."""
    policy = getattr(agent.nets, "policy", None)
    if isinstance(policy, Policy):
        with torch.no_grad():
            drawn = policy.distribution(torch.from_numpy(seen).float())
        assert isinstance(drawn, CategoricalAction)
        return drawn.shares()[None].double().numpy()
    return np.eye(3)[agent.act(seen, explore=False).reshape(-1)][None]


def row(grid: Grid, name: str, shares: Array) -> str:
    """The line of policies with these shares (n, 324, 3)."""
    inside = shares[:, np.repeat(np.isin(grid.cells.ravel(), ["#", "G"], invert=True), 4)]
    returns, sees = [worth(grid, of) for of in shares], np.ptp(inside, axis=1).max(-1).mean()
    each = ", ".join(f"{share:.2f}" for share in inside.mean((0, 1)))
    return f"| {name} | {np.mean(returns):.1f} | {min(returns):.1f} | {sees:.2f} | {each} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of policy searches and agents")
    args = parser.parse_args()
    torch.set_num_threads(1)
    screen, grid = cli.Screen(), Grid()
    tried = [(a, b, 1 - a - b) for a, b in itertools.product(np.linspace(0, 1, GRID), repeat=2) if a + b < 1 - 1e-9]
    values = []
    for number, shares in enumerate(tried, 1):
        screen.status(f"policies that see nothing: {number} of {len(tried)}")
        values.append(blind(grid, *shares))
    best = tried[int(np.argmax(values))]
    print(
        "| policies | mean return | the worst one | sees | left, right, forward |\n| --- | ---: | ---: | ---: | --- |"
    )
    for name, shares in (("at random", (1 / 3, 1 / 3, 1 / 3)), ("the best that see nothing", best)):
        print(row(grid, name, np.tile(shares, (1, len(grid.next), 1))))
    for folder in args.runs:
        for name, held_shares in held(folder, grid.seen).items():
            print(row(grid, name, held_shares))


if __name__ == "__main__":
    cli.run(main)
