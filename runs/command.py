"""What the scripts that run an agent have in common: their flags, and the way from settings to a summary."""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import gymnasium
import mujoco
import numpy as np
import torch

from elites import cli, config
from elites.agents.learner import Learner
from elites.fields import Count, Range
from elites.runs import pictures
from elites.runs.environments import Environments
from elites.runs.folder import Run
from elites.runs.loop import Loop
from elites.runs.schedule import Schedule

Seed = Annotated[int, Range(0, 2**32 - 1)]  # NumPy's
GOING_ON = ("set", "resume", "device", "quiet", "json")  # flags for a run that there is already
FOR_GOOD = ("env", "seed", "num_envs")  # settings that a run keeps


@dataclass(frozen=True)
class Settings(Schedule):
    """A schedule, and what else every run has."""

    env: str = ""
    episode_steps: Count | None = None  # None is the environment's own limit
    seed: Seed = 0


S = TypeVar("S", bound=Settings)
L = TypeVar("L", bound=Learner)
Asked = tuple[dict[str, Any], str, dict[str, Any]]  # see `asked_for`
Made = tuple[Learner, Environments | gymnasium.Env[Any, Any], Environments | None]


def flags(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", help="a Gymnasium id; configs/ has settings for some")
    parser.add_argument("--config", type=Path, metavar="FILE.yaml", help="settings, for one environment or for any")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, such as seed=1")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder; outputs/… where it is not given")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="goes on with the run in this folder")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="the summary as one line of JSON, and no progress")
    return parser


def run(
    args: argparse.Namespace,
    kind: type[S],
    asked: Callable[[argparse.Namespace], Asked],
    title: Callable[[S], str],
    made_of: Callable[[S, torch.device], Made],
    report: Callable[[Mapping[str, Any]], str],
) -> None:
    """Begins a run, or goes on with one, to its end.

    asked: see `asked_for`. title: of a new folder in outputs/.
    made_of: the agent, and environments to learn and to be evaluated in. report: the last line of the screen.
    """
    screen = cli.Screen(quiet=args.quiet or args.json)
    mujoco.set_mju_user_warning(once(lambda text: screen.warn(f"MuJoCo: {text}")))  # else once an environment
    if args.resume:
        if any(value is not None for name, value in vars(args).items() if name not in GOING_ON):
            raise ValueError("--resume goes on with the run's own settings; only --set may change some")
        folder, mapping = Run.resume(args.resume, screen.warn)
        source, given = str(args.resume / "config.yaml"), dict[str, Any]()
    else:
        mapping, source, given = asked(args)
    try:
        settings = config.build(kind, config.override(mapping | given, args.set), "flags")
    except ValueError:
        config.build(kind, mapping, source)  # which complains where the mistake is the file's own
        raise
    for name in FOR_GOOD if args.resume else ():
        if name in mapping and getattr(settings, name) != mapping[name]:
            raise ValueError(f"--resume: expected the {name} that the run was begun with, {mapping[name]}")
    device = device_of(args.device)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(settings.seed)  # for what the user brought; the library draws from its own generators
    agent, envs, shows = made_of(settings, device)
    spec = getattr(envs, "envs", [envs])[0].spec
    if spec and spec.max_episode_steps is None:
        screen.line(f"{settings.env} has no longest episode; --set episode_steps=1000 gives it one")
    if not args.resume:
        folder = Run.begin(args.out or free_folder(title(settings)), config.dump(settings), screen.warn)
    loop = Loop(agent, envs, folder, settings, settings.seed, screen, shows)
    if args.resume and (state := folder.load()):
        try:
            loop.load_state_dict(state)
        except (KeyError, RuntimeError) as error:  # another algorithm's, or of another size
            reason = str(error).strip().splitlines()[-1].strip()
            raise ValueError(f"--set: does not fit the checkpoints in {args.resume}: {reason}") from None
    if args.resume and args.set:
        folder.configure(config.dump(settings))
        loop.reopen()
    screen.line(f"{settings.env} in {folder.folder}")
    try:
        summary = loop()
    except KeyboardInterrupt:
        screen.line(f"python {sys.argv[0]} --resume {folder.folder} goes on from here")
        raise
    screen.status("drawing")
    pictures.draw(loop)
    folder.close()
    if args.json:
        print(json.dumps(summary))  # noqa: T201
    else:
        screen.line(f"{report(summary)}; summary, plots and video in {folder.folder}")


def asked_for(args: argparse.Namespace, folder: Path, env: str) -> Asked:
    """The settings of a file and where that is, --config or the environment's own in the folder; and those of flags.

    A --config that names no environment, such as a preset, goes over that file.
    """
    given = config.load(args.config) if args.config else {}
    name = (args.env or given.get("env", env)).rpartition("/")[2]
    own = folder / f"{name.rpartition('-v')[0] or name}.yaml"
    mapping = config.load(own) if own.exists() and "env" not in given else {}
    source = args.config or (own if mapping else "settings")
    flags = {name: getattr(args, name) for name in ("env", "seed") if getattr(args, name) is not None}
    return {"env": env} | mapping | given, str(source), flags


def trained(
    folder: Path, say: Callable[[str], None], kind: type[S], agent_for: Callable[[S, gymnasium.Env[Any, Any]], L]
) -> tuple[L, S]:
    """The agent as a run has left it, and the run's settings."""
    found, mapping = Run.resume(folder, say)
    settings = config.build(kind, mapping, str(folder / "config.yaml"))
    agent, state = agent_for(settings, make(settings)), found.load()
    if state is None:
        raise ValueError(f"{folder}: expected a run that has learned something, found no checkpoint")
    agent.load_state_dict(state["agent"] | {"rng": agent.rng.get_state()})  # its own may be another device's
    return agent, settings


def once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Does not repeat itself."""
    said: set[str] = set()

    def new(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return new


def device_of(name: str) -> torch.device:
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None


def make(settings: Settings) -> gymnasium.Env[Any, Any]:
    """gymnasium.make, with its troubles in one line."""
    try:
        return gymnasium.make(settings.env, max_episode_steps=settings.episode_steps)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise ValueError(f"env: {' '.join(str(error).split())}") from None


def free_folder(title: str) -> Path:
    """outputs/TITLE, with a number where there has been one."""
    numbered = (Path("outputs") / (title if n == 1 else f"{title}-{n}") for n in itertools.count(1))
    return next(folder for folder in numbered if not folder.exists())
