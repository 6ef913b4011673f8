"""Plans over choices with known dynamics: balances CartPole-v1, and swings up Acrobot-v1.

    python benchmarks/choices.py --csv results/choices.csv

One loop drives an environment for every seed, and plans for all at once. Returns are in the environment's own reward.
Both environments give the same reward at every step. So the search maximises a smoother reward: an upright pole in the
middle of the track, and the height of Acrobot's tip. iCEM's noise is red for CartPole, which is the default. It is
pink for Acrobot: with red noise, one seed of ten takes more than a hundred steps.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor

from elites import cli, config
from elites.agents import MPC
from elites.envs import TASKS
from elites.envs.classic import CARTPOLE_TILT, CARTPOLE_TRACK, acrobot_height
from elites.planners import ICEM, Planner


def upright(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """1 - (x / 2.4)² - (θ / 12°)²: 1 in the middle of the track with the pole upright."""
    x, tilt = next_state[:, 0] / CARTPOLE_TRACK, next_state[:, 2] / CARTPOLE_TILT
    return 1 - x.square() - tilt.square()


def height(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """The height of the tip less its maximum. It is negative, so every step costs and an early end is better."""
    return acrobot_height(next_state) - 2


class Case(NamedTuple):
    horizon: int
    reward: Callable[[Tensor, Tensor, Tensor], Tensor]  # the search's reward
    beta: float  # the colour of iCEM's noise


CASES = {"CartPole-v1": Case(15, upright, 2.0), "Acrobot-v1": Case(30, height, 1.0)}


def drive(env: str, planner: Planner, seeds: int) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """The length and return of each seed's episode; the median milliseconds of a plan for all seeds."""
    options = {"autoreset_mode": AutoresetMode.DISABLED}
    envs = gymnasium.make_vec(env, num_envs=seeds, vectorization_mode="sync", vector_kwargs=options)
    task, case = TASKS[env], CASES[env]
    assert task.dynamics is not None
    mpc = MPC.of(
        planner,
        horizon=case.horizon,
        dynamics=task.dynamics,
        reward=case.reward,
        space=envs.single_action_space,
        terminated=task.terminated,
        seed=0,
    )
    observation, _ = envs.reset(seed=list(range(seeds)))  # type: ignore[arg-type]  # it takes a list too
    under_way, lengths, returns = np.ones(seeds, bool), np.zeros(seeds, int), np.zeros(seeds)
    milliseconds = []
    while under_way.any():
        observation, reward, terminated, truncated, _ = envs.step(mpc(observation))
        assert mpc.last is not None
        milliseconds.append(1e3 * mpc.last.seconds)
        lengths += under_way
        returns += np.where(under_way, reward, 0)
        if (over := terminated | truncated).any():
            under_way &= ~over
            observation, _ = envs.reset(options={"reset_mask": over})
            mpc.ended(over)
    envs.close()
    return lengths, returns, float(np.median(milliseconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--planner", nargs="+", default=["cem", "icem", "random_shooting"], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--csv", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = []
    print(f"{'environment':<14}{'planner':<18}{'steps':>22}{'return':>9}{'plan, median':>15}{'wall':>9}")
    for env in args.env:
        for name in args.planner:
            planner = config.build(Planner, config.named(name), "--planner")  # type: ignore[type-abstract]
            planner = replace(planner, beta=CASES[env].beta) if planner == ICEM() else planner
            began = time.perf_counter()
            lengths, returns, plan_ms = drive(env, planner, args.seeds)
            steps = f"{lengths.mean():.1f} ({lengths.min()} to {lengths.max()})"
            wall = time.perf_counter() - began
            print(f"{env:<14}{name:<18}{steps:>22}{returns.mean():>9.1f}{plan_ms:>12.1f} ms{wall:>7.1f} s", flush=True)
            for seed in range(args.seeds):
                rows.append([env, name, seed, int(lengths[seed]), float(returns[seed]), round(plan_ms, 1)])
    if args.csv:
        with args.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["env", "planner", "seed", "steps", "return", "plan_ms_median"])
            writer.writerows(rows)


if __name__ == "__main__":
    cli.run(main)
