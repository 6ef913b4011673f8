"""MuJoCo's simulator as the model: nothing is learned, and the cheetah runs.

    python examples/simulator.py --planner icem
    python examples/simulator.py --planner mppi --env elites/HumanoidStandup-v0 --set steps=100

--video FILE.gif films it. This needs offscreen rendering (MUJOCO_GL=egl on a machine without a screen).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elites import cli, config
from elites.agents import MPC
from elites.dynamics import MujocoDynamics
from elites.envs import TASKS, HalfCheetah, HumanoidStandup
from elites.fields import Checked, Count
from elites.planners import Planner
from elites.runs.mujoco_log import mujoco_log

ENVS = {f"elites/{env.__name__}-v0": env for env in (HalfCheetah, HumanoidStandup)}


@dataclass(frozen=True)
class Settings(Checked):
    planner: Planner
    horizon: Count = 30
    steps: Count = 200
    seed: int = 0


def filmed(kind: type[Any]) -> Any:
    """The environment with a camera, or without one if rendering fails."""
    try:
        env = kind(render_mode="rgb_array")
        env.reset()
        env.render()
    except Exception as error:  # OpenGL raises errors of many kinds
        print(f"simulator: no video: rendering failed: {error}", file=sys.stderr)
        return kind()
    return env


def drive(env: Any, mpc: MPC, settings: Settings, quiet: bool) -> tuple[float, list[float], list[Any]]:
    """The return of one episode, the milliseconds of every plan, and frames if the environment has a camera."""
    observation, _ = env.reset(seed=settings.seed)
    total, milliseconds, frames = 0.0, [], []
    for step in range(settings.steps):
        observation, gained, *_ = env.step(mpc(observation))
        total += gained
        assert mpc.last is not None
        milliseconds.append(1e3 * mpc.last.seconds)
        if env.render_mode:
            frames.append(env.render())
        if not quiet:
            note = f"\r{step + 1:5d}/{settings.steps} steps  return {total:9.1f}  plan {milliseconds[-1]:6.0f} ms "
            print(note, end="", file=sys.stderr, flush=True)
    return total, milliseconds, frames


def save(frames: list[Any], path: Path, rate: float) -> None:
    import imageio

    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.mimsave(path, frames[::2], duration=2e3 / rate, loop=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="elites/HalfCheetah-v0", choices=ENVS)
    parser.add_argument("--planner", default="icem", help="a name, a YAML file or package.module:Class (no gradients)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="horizon, steps, planner.…")
    parser.add_argument("--video", type=Path, metavar="FILE.gif")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, and no progress")
    args = parser.parse_args()
    settings = config.build(Settings, config.override({"planner": config.named(args.planner)}, args.set), "settings")

    kind = ENVS[args.env]
    env: Any = filmed(kind) if args.video else kind()
    dynamics = MujocoDynamics(env.model, env.frame_skip, kind.physics, kind.observed)
    reward = TASKS[args.env].reward
    mpc = MPC.of(
        settings.planner,
        horizon=settings.horizon,
        dynamics=dynamics,
        reward=reward,
        space=env.action_space,
        seed=settings.seed,
    )
    began = time.perf_counter()
    total, milliseconds, frames = drive(env, mpc, settings, args.json)
    median, wall = float(np.median(milliseconds)), time.perf_counter() - began
    if args.json:
        row = {"env": args.env, "planner": args.planner, "steps": settings.steps, "return": round(total, 1)}
        print(json.dumps(row | {"plan_ms_median": round(median, 1), "wall_s": round(wall, 1)}))
    else:
        print(f"\n{args.env}, {args.planner}: return {total:.1f} of {settings.steps} steps, plan {median:.0f} ms")
    if frames:
        save(frames, args.video, env.metadata["render_fps"])
    env.close()


def warned(text: str) -> None:
    print(f"simulator: {text}", file=sys.stderr)


if __name__ == "__main__":
    with mujoco_log(warned):  # else MuJoCo writes its warnings into a file in the working directory
        cli.run(main)
