"""PETS from end to end: collect at random, fit a probabilistic ensemble, plan through it, act, and again.

    python examples/pets.py --planner cem_gd
    python examples/pets.py --env elites/HalfCheetah-v0 --planner icem --set episodes=20
    python examples/pets.py --env Pendulum-v1 --planner cem --out runs/pendulum
    python examples/pets.py --resume runs/pendulum

Any Gymnasium environment with vectors for observations and actions will do; where its reward is not known to
`elites.envs`, the model learns it too. What comes out is in the run's folder; `python examples/report.py RUN…` puts
runs side by side.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch

from elites import cli, config
from elites.agents import PETS, Loop, PETSConfig, Run, Schedule, pictures
from elites.envs import task_of
from elites.fields import Count

CONFIGS = Path(__file__).parents[1] / "configs/pets"


@dataclass(frozen=True)
class Settings(PETSConfig, Schedule):
    """All that a run is made of: configs/pets/*.yaml, and what --set may set."""

    env: str = "elites/CartpoleSwingup-v0"
    reward: Literal["known", "learned"] | None = None  # None is known where it is, else learned
    termination: str | None = None  # a name in elites.envs.TERMINATIONS or module:function, where it is not known
    episode_steps: Count | None = None  # None is the environment's own limit
    seed: int = 0


def asked_for(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The settings as a mapping, and where they are from."""
    path = args.config
    if path is None:
        name = (args.env or Settings.env).rpartition("/")[2].rpartition("-v")[0]
        path = CONFIGS / f"{name}.yaml"
        path = path if path.exists() else None
    mapping = config.load(path) if path else {}
    flags = {"env": args.env, "seed": args.seed, "planner": args.planner and config.named(args.planner)}
    return mapping | {key: value for key, value in flags.items() if value is not None}, str(path or "settings")


def make(settings: Settings) -> gymnasium.Env[Any, Any]:
    try:
        return gymnasium.make(settings.env, max_episode_steps=settings.episode_steps)
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"env: {' '.join(str(error).split())}") from None


def agent_for(settings: Settings, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> PETS:
    return PETS(settings, task_of(env, settings.reward, settings.termination), env, settings.seed, device)


def trained(folder: Path, say: Callable[[str], None]) -> tuple[PETS, Settings]:
    """The agent as a run has left it, and the run's settings."""
    run, mapping = Run.resume(folder, say)
    settings = config.build(Settings, mapping, str(folder / "config.yaml"))
    agent, state = agent_for(settings, make(settings)), run.load()
    if state is None:
        raise ValueError(f"{folder}: expected a run that has learned something, found no checkpoint")
    agent.load_state_dict(state["agent"])
    return agent, settings


def free_folder(settings: Settings) -> Path:
    """runs/ENV-PLANNER-SEED, with a number where there has been one."""
    planner = config.dump(settings)["planner"]["name"].rpartition(":")[2]
    name = f"{settings.env.rpartition('/')[2]}-{planner}-{settings.seed}"
    numbered = (Path("runs") / (name if n == 1 else f"{name}-{n}") for n in itertools.count(1))
    return next(folder for folder in numbered if not folder.exists())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planner", help="a name, a YAML file or package.module:Class")
    parser.add_argument("--env", help="a Gymnasium id; configs/pets/ has settings for those of elites")
    parser.add_argument("--config", type=Path, metavar="FILE.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="episodes, planner.samples, …")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder; runs/… where it is not given")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="goes on with the run in this folder")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="the summary as one line of JSON, and no progress")
    args = parser.parse_args()
    screen = cli.Screen(quiet=args.quiet or args.json)
    if args.resume:
        if args.config or args.env or args.planner or args.out or args.seed is not None:
            raise ValueError("--resume goes on with the run's own settings; only --set may change some")
        run, mapping = Run.resume(args.resume, screen.warn)
        source = str(args.resume / "config.yaml")
    else:
        mapping, source = asked_for(args)
    settings = config.build(Settings, config.override(mapping, args.set), source)
    try:
        device = torch.zeros(0, device=args.device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {args.device}: {str(error).splitlines()[0]}") from None

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(settings.seed)  # for a planner or task of the user's; the library draws from its own generators
    env = make(settings)
    agent = agent_for(settings, env, device)
    if not args.resume:
        run = Run.begin(args.out or free_folder(settings), config.dump(settings), screen.warn)
    elif args.set:
        run.configure(config.dump(settings))
    loop = Loop(agent, env, run, settings, settings.seed, screen)
    if args.resume and (state := run.load()):
        loop.load_state_dict(state)
    screen.line(f"{settings.env} in {run.folder}")
    try:
        summary = loop()
    except KeyboardInterrupt:
        screen.line(f"python examples/pets.py --resume {run.folder} goes on from here")
        raise
    screen.status("drawing")
    pictures.draw(loop, agent, settings.horizon)
    run.close()
    if args.json:
        print(json.dumps(summary))
    else:
        report = (
            "best return {best_return:.1f}, mean of the last three {last_three_mean:.1f}, plan {plan_ms_median:.0f} ms"
        )
        screen.line(report.format(**summary) + f"; summary, plots and video in {run.folder}")


if __name__ == "__main__":
    cli.run(main)
