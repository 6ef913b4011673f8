"""`elites search`: search the weights of a policy, with a planner."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from elites import config
from elites.runs.commands.training import Asked, Kind, training_flags
from elites.runs.commands.training import asked as asked_of
from elites.runs.search import CONFIGS, SearchSettings

DESCRIPTION = """Searches the weights of a policy with a planner, one generation at a time.

  elites search --env Swimmer-v5 --planner cem
  elites search --env elites/Reach-v0 --set generations=500
  elites search --env Hopper-v5 --set policy.architecture.hidden=[32] --workers 4
  elites search --resume outputs/Swimmer-v5-search-cem-0 --set generations=200

Works with any Gymnasium environment that has vector observations, bounded actions or choices, and an end of episodes.
The results are in the run's folder."""


def flagged(args: argparse.Namespace) -> tuple[Mapping[str, Any], Sequence[str]]:
    given: dict[str, Any] = {}
    if args.planner:
        given["planner"] = config.named(args.planner)
    if args.workers:
        given["workers"] = int(args.workers) if args.workers.isdigit() else args.workers
    return given, []


def folders(args: argparse.Namespace) -> list[Path]:
    return [CONFIGS]


KIND = Kind(SearchSettings, folders, "Swimmer-v5", flagged)


def asked(
    description: str | None = DESCRIPTION,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> AbstractContextManager[Asked[SearchSettings]]:
    """The arguments of `train`, from a command line. arguments: None takes this process's own."""
    parser = training_flags(description, program)
    parser.add_argument("--planner", metavar="NAME", help="cem, icem, mppi, …, a YAML file or package.module:Class")
    parser.add_argument("--workers", metavar="N", help="processes, ray or ray://HOST:PORT (default: one for each core)")
    return asked_of(parser, KIND, arguments, program)


def main(arguments: Sequence[str], program: str) -> None:
    with asked(DESCRIPTION, arguments, program) as run:
        run.tell(run.train())
