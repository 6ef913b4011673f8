"""Returns of every planner in closed loop, at about equal evaluations: MPC with the true dynamics, ten seeds at once.

    python benchmarks/closed_loop.py
    python benchmarks/closed_loop.py --worlds swing-up Pendulum --budgets 50
    python benchmarks/closed_loop.py --budgets 100      # as many as a warm plan of Blend() has
    python benchmarks/closed_loop.py --table

Planners have the settings of benchmarks/search.py. A run adds a row to results/closed_loop.csv, and a run that is there
already is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elites import cli
from elites.agents import MPC
from elites.agents.lockstep import Lockstep, play
from elites.dynamics import Return
from elites.planners import Blend, Planner
from elites.runs.bench.contenders import fits, ours
from elites.runs.bench.kept import Kept
from elites.runs.bench.problems import PENDULUM, known, simulated
from elites.runs.environments import make, several
from elites.spaces import Space

KEPT = Kept(Path("results/closed_loop.csv"), ("world", "budget", "contender", "plan_ms", "returns"))
BUDGETS = (50, 500)
SEEDS = range(10)
DRAWS = 10_000  # of the bootstrap
Array = NDArray[Any]


@dataclass(frozen=True)
class World:
    """steps: of an episode at most."""

    env: str
    returns: Callable[[], Return]
    horizon: int
    steps: int
    gradient: bool = True


SWINGUP, CARTPOLE, CHEETAH = "elites/CartpoleSwingup-v0", "CartPole-v1", "elites/HalfCheetah-v0"
WORLDS = {
    "swing-up": World(SWINGUP, partial(known, SWINGUP), horizon=45, steps=60),
    "Pendulum": World("Pendulum-v1", lambda: PENDULUM, horizon=30, steps=200),
    "Pendulum, 45 steps": World("Pendulum-v1", lambda: PENDULUM, horizon=45, steps=200),
    "CartPole-v1": World(CARTPOLE, partial(known, CARTPOLE), horizon=60, steps=500, gradient=False),
    "HalfCheetah, simulator": World(CHEETAH, partial(simulated, CHEETAH), horizon=15, steps=100, gradient=False),
}


def episodes(world: World, planner: Planner, space: Space, progress: Callable[[str], None]) -> tuple[Array, float]:
    """The return of every seed, and the median milliseconds of a plan for all of them at once."""
    envs, times = Lockstep(several(world.env, len(SEEDS), world.steps)), []
    mpc = MPC(planner, world.horizon, world.returns(), space, seed=0)

    def act(observation: Array) -> Array:
        begun = time.perf_counter()
        action = mpc(observation)
        times.append(1000 * (time.perf_counter() - begun))
        progress(f"step {len(times)} of {world.steps}")
        return action

    played = play(act, envs, list(SEEDS), lambda step, observation, reward, under_way: True)
    assert played
    return played.returns, float(np.median(times))


def run(name: str, budget: int, screen: cli.Screen) -> None:
    """Adds the rows of a world and a budget."""
    world, done = WORLDS[name], {row["contender"] for row in KEPT.rows(world=name, budget=str(budget))}
    space = Space.of(make(world.env).action_space, dtype=torch.float32)
    default = {"the default of MPC.of": Blend()} if budget == Blend().warm else {}
    for contender, planner in (ours(budget) | default).items():
        if contender not in done and fits(contender, planner, space.repeat(world.horizon), world.gradient):
            progress = partial(told, screen, f"{name}: {contender}, {budget} evaluations")
            returns, plan_ms = episodes(world, planner, space, progress)
            row = {"world": name, "budget": str(budget), "contender": contender, "plan_ms": f"{plan_ms:.1f}"}
            KEPT.add(row | {"returns": " ".join(f"{value:.6g}" for value in returns)})


def told(screen: cli.Screen, where: str, what: str) -> None:
    screen.status(f"{where}, {what}")


def interval(values: Array) -> tuple[float, float]:
    """95 % of the means if the seeds are drawn again."""
    means = np.random.default_rng(0).choice(values, (DRAWS, len(values))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def show(names: Sequence[str], budgets: Sequence[int]) -> None:
    """The mean return of each contender, and how far it is from the best one, with the same seeds."""
    for name, budget in itertools.product(names, budgets):
        rows = KEPT.rows(world=name, budget=str(budget))
        returns = {row["contender"]: np.array([float(value) for value in row["returns"].split()]) for row in rows}
        times = {row["contender"]: float(row["plan_ms"]) for row in rows}
        order = sorted(returns, key=lambda contender: -returns[contender].mean())
        print(f"\n| {name}, {budget} evaluations a step | return | to the best | interval | ten plans, ms |")
        print("| --- | ---: | ---: | --- | ---: |")
        for contender in order:
            gap = returns[contender] - returns[order[0]]
            low, high = interval(gap)
            figures = f"{returns[contender].mean():.1f} | {gap.mean():.1f} | {low:.1f} – {high:.1f}"
            print(f"| {contender} | {figures} | {times[contender]:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS), metavar="WORLD")
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument("--table", action="store_true", help="print the rows that are there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    screen = cli.Screen()
    if not args.table:
        for budget, name in itertools.product(args.budgets, args.worlds):
            run(name, budget, screen)
    show(args.worlds, args.budgets)


if __name__ == "__main__":
    cli.run(main)
