"""What the scripts that run an agent have in common: their flags, and the way from settings to a summary."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from elites import cli, config
from elites.agents.learner import Learner
from elites.runs import kinds
from elites.runs.load import load
from elites.runs.pictures import Pictures
from elites.runs.recorders import TensorBoard
from elites.runs.screen import OnScreen
from elites.runs.settings import RunSettings
from elites.runs.train import train

GOING_ON = ("set", "resume", "device", "quiet", "json")  # flags for a run that there is already
L = TypeVar("L", bound=Learner)
S = TypeVar("S", bound=RunSettings)
Asked = tuple[dict[str, Any], str, dict[str, Any]]  # see `asked_for`


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


def run(args: argparse.Namespace, kind: type[S], asked: Callable[[argparse.Namespace], Asked]) -> None:
    """Begins a run, or goes on with one, to its end. asked: see `asked_for`."""
    screen = cli.Screen(quiet=args.quiet or args.json)
    if args.resume:
        if any(value is not None for name, value in vars(args).items() if name not in GOING_ON):
            raise ValueError("--resume goes on with the run's own settings; only --set may change some")
        mapping, source, given = kinds.mapping_of(args.resume), str(args.resume / "config.yaml"), dict[str, Any]()
    else:
        mapping, source, given = asked(args)
    mapping.pop(kinds.KIND, None)
    try:
        settings = config.build(kind, config.override(mapping | given, args.set), "flags")
    except ValueError:
        config.build(kind, mapping, source)  # which complains where the mistake is the file's own
        raise
    device = device_of(args.device)
    folder = args.resume or args.out or free_folder(settings.title())
    interrupt, watching = cli.Interrupt(screen), [OnScreen(screen), TensorBoard(), Pictures()]
    going_on = bool(args.resume)
    with interrupt:
        summary = train(
            settings, folder, resume=going_on, observers=watching, stop=lambda: interrupt.asked, device=device
        )
    if not summary.finished:
        screen.line(f"python {sys.argv[0]} --resume {folder} goes on from here")
        raise KeyboardInterrupt
    if args.json:
        print(json.dumps(summary.as_dict()))  # noqa: T201
    else:
        screen.line(f"{settings.report(summary)}; summary, plots and video in {folder}")


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


def trained(folder: Path, say: Callable[[str], None], kind: type[S], learner: type[L]) -> tuple[L, S]:
    """The agent as a run has left it, and the run's settings."""
    settings, agent = kinds.settings_of(folder), load(folder, say)
    if not isinstance(settings, kind) or not isinstance(agent, learner):
        raise ValueError(f"{folder}: expected a run of {learner.__name__}, got one of {type(agent).__name__}")
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


def free_folder(title: str) -> Path:
    """outputs/TITLE, with a number where there has been one."""
    numbered = (Path("outputs") / (title if n == 1 else f"{title}-{n}") for n in itertools.count(1))
    return next(folder for folder in numbered if not folder.exists())
