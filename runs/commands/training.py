"""Shared by `elites pets` and `elites learn`: their flags, and the arguments of `train` that follow from them."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from elites import cli, config
from elites.help import explain, lines
from elites.runs import kinds
from elites.runs.commands.flags import Parser
from elites.runs.observers import Observer
from elites.runs.pictures import Pictures
from elites.runs.recorders import TensorBoard
from elites.runs.screen import OnScreen
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary
from elites.runs.train import train

GOING_ON = ("help", "set", "resume", "device", "quiet", "json")  # flags that --resume allows
S = TypeVar("S", bound=RunSettings)
Flags = Callable[[argparse.Namespace], tuple[Mapping[str, Any], Sequence[str]]]  # settings, and assignments as in --set


@dataclass(frozen=True)
class Kind(Generic[S]):
    """A kind of run, as the command line sees it.

    configs: the folders with a file for some environments; the first that has one counts. The last one has the presets.
    flagged: settings from the flags that only this kind has.
    """

    settings: type[S]
    configs: Callable[[argparse.Namespace], Sequence[Path]]
    env: str  # the default
    flagged: Flags


@dataclass(frozen=True)
class Asked(Generic[S]):
    """The arguments of `train` from a command line, and the report of the result."""

    settings: S
    folder: Path
    resume: bool
    device: torch.device
    screen: cli.Screen
    interrupt: cli.Interrupt
    again: str  # the command that resumes a run
    as_json: bool
    observers: Sequence[Observer]

    def stop(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self.interrupt.asked

    def train(self) -> Summary:
        return train(
            self.settings,
            self.folder,
            resume=self.resume,
            observers=self.observers,
            stop=self.stop,
            device=self.device,
        )

    def tell(self, summary: Summary) -> None:
        """Prints the run's last line. If Ctrl-C stopped the run, raises KeyboardInterrupt."""
        if not summary.finished:
            self.screen.line(f"{self.again} --resume {self.folder} goes on from here")
            raise KeyboardInterrupt
        if self.as_json:
            print(json.dumps(summary.as_dict()))
        else:
            self.screen.line(f"{self.settings.report(summary)}; summary, plots and video in {self.folder}")


def training_flags(description: str | None, program: str | None) -> Parser:
    parser = Parser(description, program, add_help=False, usage="%(prog)s [FLAG …]")
    parser.add_argument("-h", "--help", action="store_true", help="show this page; other flags choose what it lists")
    parser.add_argument("--env", help="a Gymnasium id; configs/ has settings for some ids")
    parser.add_argument("--config", type=Path, metavar="FILE.yaml", help="a file, or a preset such as fast")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting listed below")
    parser.add_argument("--seed", type=int, help="default: 0")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, …")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: outputs/…)")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue the run in this folder")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--json", action="store_true", help="print the summary as one line of JSON, and no progress")
    return parser


@contextmanager
def asked(parser: Parser, kind: Kind[S], arguments: Sequence[str] | None, program: str | None) -> Iterator[Asked[S]]:
    """Inside it, the first Ctrl-C asks the run to stop. The second one stops it. program: None takes the script's."""
    args = parser.parse_args(arguments)
    settings = settings_of(args, kind)
    if args.help:
        print(page(parser, settings))
        raise SystemExit(0)
    screen = cli.Screen(quiet=args.quiet or args.json)
    folder = args.resume or args.out or free_folder(settings.title())
    interrupt = cli.Interrupt(screen)
    device, again = device_of(args.device), program or f"python {sys.argv[0]}"
    observers = [OnScreen(screen), TensorBoard(), Pictures()]
    with interrupt:
        yield Asked(settings, folder, bool(args.resume), device, screen, interrupt, again, args.json, observers)


def settings_of(args: argparse.Namespace, kind: Kind[S]) -> S:
    """The settings of a file, the flags and --set; or of the resumed run and --set. An error names its source."""
    if args.resume:
        if any(value is not None for name, value in vars(args).items() if name not in GOING_ON):
            raise ValueError("--resume keeps the run's own settings; only --set can change them")
        mapping, source = kinds.mapping_of(args.resume), str(args.resume / "config.yaml")
        given, assignments = dict[str, Any](), list(args.set)
    else:
        mapping, source = chosen(args, kind.configs(args), kind.env)
        own, more = kind.flagged(args)
        given = {name: getattr(args, name) for name in ("env", "seed") if getattr(args, name) is not None} | dict(own)
        assignments = [*args.set, *more]
    if args.resume or kinds.KIND in mapping:
        wanted, found = kinds.name_of(kind.settings), kinds.kind_of(mapping)
        if found != wanted:
            raise ValueError(f"{source}: expected settings of `elites {wanted}`, got those of `elites {found}`")
    mapping.pop(kinds.KIND, None)
    try:
        return config.build(kind.settings, config.override(mapping | chosen_over(mapping, given), assignments), "flags")
    except ValueError:
        config.build(kind.settings, mapping, source)  # raises if the mistake is in the file, and names it
        raise


def chosen_over(mapping: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of flags, without choices that the mapping makes too: it can have more settings for them."""
    return {
        key: value
        for key, value in given.items()
        if not (isinstance(old := mapping.get(key), Mapping) and value == {"name": old.get("name")})
    }


def chosen(args: argparse.Namespace, folders: Sequence[Path], env: str) -> tuple[dict[str, Any], str]:
    """The settings of a file, and its path. The file is --config, or the environment's own in one of the folders.

    A --config that names no environment, such as a preset, overrides the environment's own file.
    """
    file = preset(args.config, folders[-1]) if args.config else None
    given = config.load(file) if file else {}
    name = (args.env or given.get("env", env)).rpartition("/")[2]
    files = [folder / f"{name.rpartition('-v')[0] or name}.yaml" for folder in folders]
    own = next((path for path in files if path.exists() and "env" not in given), None)
    mapping = config.load(own) if own else {}
    source = file or own or "settings"
    return {"env": env} | mapping | given, str(source)


def preset(name: Path, folder: Path) -> Path:
    """A bare name stands for a file in the folder, which every installation has."""
    if name.exists() or name.name != str(name) or name.suffix:
        return name
    file = folder / f"{name}.yaml"
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise ValueError(f"--config {name}: expected a file or one of {known}")
    return file


def page(parser: Parser, settings: RunSettings) -> str:
    """The help: flags, and every setting with the value that this command line gives it."""
    listed = lines(explain(settings), shutil.get_terminal_size().columns)
    return (
        f"{parser.format_help()}\n"
        "Settings for --set KEY=VALUE and for YAML files, with the values that this command line gives them.\n"
        f"The settings below a choice (planner, agent, …) belong to the chosen one:\n\n{listed}"
    )


def device_of(name: str) -> torch.device:
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None


def free_folder(title: str) -> Path:
    """outputs/TITLE, with a number if that folder exists."""
    numbered = (Path("outputs") / (title if n == 1 else f"{title}-{n}") for n in itertools.count(1))
    return next(folder for folder in numbered if not folder.exists())
