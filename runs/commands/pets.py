"""`elites pets`: learn a model of an environment, and plan through it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from elites import config
from elites.planners import PLANNERS
from elites.runs.commands.training import Asked, Kind, training_flags
from elites.runs.commands.training import asked as asked_of
from elites.runs.pets import CONFIGS, PETSSettings

DESCRIPTION = """PETS from end to end: collect at random, fit a probabilistic ensemble, plan through it, act, repeat.

  elites pets --planner cem_gd
  elites pets --env elites/HalfCheetah-v0 --planner icem --set episodes=20
  elites pets --resume outputs/HalfCheetah-v0-icem-0

Works with any Gymnasium environment that has vector observations and vector actions. If `elites.envs` does not know
the reward, the model learns it too. The results are in the run's folder."""


def flagged(args: argparse.Namespace) -> tuple[Mapping[str, Any], Sequence[str]]:
    asked = {"planner": config.named(args.planner)} if args.planner else {}
    return asked | ({"plan": args.plan} if args.plan else {}), []


KIND = Kind(PETSSettings, lambda args: [CONFIGS], "elites/CartpoleSwingup-v0", flagged)


def asked(
    description: str | None = DESCRIPTION,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> AbstractContextManager[Asked[PETSSettings]]:
    """The arguments of `train`, from a command line. arguments: None takes this process's own."""
    parser = training_flags(description, program)
    parser.add_argument("--planner", metavar="NAME", help=f"{', '.join(PLANNERS)}, a YAML file or package.module:Class")
    parser.add_argument("--plan", choices=["sequence", "policy"], help="plans of action sequences or of policies")
    return asked_of(parser, KIND, arguments, program)


def main(arguments: Sequence[str], program: str) -> None:
    with asked(DESCRIPTION, arguments, program) as run:
        run.tell(run.train())
