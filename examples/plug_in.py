"""An MPC loop of your own, in which the planner is one name to change.

    python examples/plug_in.py --planner cem_gd
    python examples/plug_in.py --planner all
    python examples/plug_in.py --planner configs/planners/icem.yaml --set planner.samples=50 --set horizon=20
    python examples/plug_in.py --planner my_package.my_module:MyPlanner

Gymnasium's Pendulum-v1 with its known dynamics. One loop drives a pendulum for every seed, and plans for all at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elites import cli, config
from elites.agents import MPC
from elites.fields import Checked, Count
from elites.planners import PLANNERS, Planner

# --- the user's code: a task, its dynamics, its reward ----------------------------------------------------------------


def dynamics(state: Tensor, action: Tensor) -> Tensor:
    """Rows of (cos θ, sin θ, θ̇) and (torque) -> the next rows: g = 10, m = l = 1, steps of 0.05 s."""
    angle, speed = torch.atan2(state[:, 1], state[:, 0]), state[:, 2]
    speed = (speed + 0.05 * (15 * torch.sin(angle) + 3 * action[:, 0])).clamp(-8, 8)
    angle = angle + 0.05 * speed
    return torch.stack([torch.cos(angle), torch.sin(angle), speed], dim=1)


def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    angle = torch.atan2(state[:, 1], state[:, 0])
    return -(angle**2 + 0.1 * state[:, 2] ** 2 + 0.001 * action[:, 0] ** 2)


def drive(planner: Planner, horizon: int, seeds: int, quiet: bool) -> tuple[NDArray[np.float64], list[float]]:
    """The return of every seed's episode, and the milliseconds of every plan."""
    envs = gymnasium.make_vec("Pendulum-v1", num_envs=seeds, vectorization_mode="sync")
    space = envs.single_action_space
    # the planner plugs in here
    mpc = MPC.of(planner, horizon=horizon, dynamics=dynamics, reward=reward, space=space, seed=0)
    observation, _ = envs.reset(seed=list(range(seeds)))  # type: ignore[arg-type]  # it takes a list too
    returns, milliseconds = np.zeros(seeds), []
    for step in range(200):
        observation, rewards, *_ = envs.step(mpc(observation))  # <- and acts here
        returns += rewards
        milliseconds.append(1e3 * mpc.last.seconds if mpc.last else 0.0)
        if not quiet:
            note = f"\r{step + 1:4d}/200 steps  mean return {returns.mean():8.1f}  plan {milliseconds[-1]:6.1f} ms "
            print(note, end="", file=sys.stderr, flush=True)
    if not quiet:
        print("\r" + " " * 60, end="\r", file=sys.stderr, flush=True)
    envs.close()
    return returns, milliseconds


# --- the command line -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings(Checked):
    planner: Planner
    horizon: Count = 30
    seeds: Count = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planner", default="cem_gd", help="a name, a YAML file, package.module:Class, or all")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="horizon, seeds, planner.…")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each planner")
    args = parser.parse_args()
    names = list(PLANNERS) if args.planner == "all" else [args.planner]
    settings = {}
    for name in names:
        mapping = config.override({"planner": config.named(name)}, args.set)
        settings[name] = config.build(Settings, mapping, "settings")
    if not args.json:
        print(f"{'planner':<24}{'mean return':>12}{'worst':>9}{'best':>9}{'plan, median':>15}{'wall':>9}")
    for name, setting in settings.items():
        began = time.perf_counter()
        returns, milliseconds = drive(setting.planner, setting.horizon, setting.seeds, args.quiet)
        wall = time.perf_counter() - began
        if args.json:
            row = {
                "planner": name,
                "mean_return": round(returns.mean(), 1),
                "returns": returns.round(1).tolist(),
                "plan_ms_median": round(float(np.median(milliseconds)), 2),
                "wall_s": round(wall, 1),
            }
            print(json.dumps(row), flush=True)
        else:
            print(
                f"{name:<24}{returns.mean():>12.1f}{returns.min():>9.1f}{returns.max():>9.1f}"
                f"{np.median(milliseconds):>12.1f} ms{wall:>7.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    cli.run(main)
