"""`elites learn`: learn a Q-function and a policy, without a model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from elites import config
from elites.agents import AGENTS
from elites.runs.commands.training import Asked, Kind, training_flags
from elites.runs.commands.training import asked as asked_of
from elites.runs.learn import CONFIGS, LearnSettings

DESCRIPTION = """Learns without a model: a Q-function and a policy with CGP, or with another agent.

  elites learn --env Pendulum-v1
  elites learn --env HalfCheetah-v5 --agent td3 --set steps=200000
  elites learn --env Hopper-v5 --agent qgp --mode offline --num-envs 4
  elites learn --env Hopper-v5 --agent awac --data outputs/Hopper-v5-sac-0
  elites learn --resume outputs/Pendulum-v1-cgp-0

Works with any Gymnasium environment that has vector observations and bounded actions. Some agents also take choices.
The results are in the run's folder. `elites deploy RUN` exports the policy."""


def flagged(args: argparse.Namespace) -> tuple[Mapping[str, Any], Sequence[str]]:
    asked = {"num_envs": args.num_envs, "data": args.data}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if args.data:
        given["offline_updates"] = 25_000
    if args.agent:
        given["agent"] = config.named(args.agent)
    return given, [f"agent.mode={args.mode}"] if args.mode else []


def folders(args: argparse.Namespace) -> list[Path]:
    """The agent's own settings come before the shared ones."""
    return [CONFIGS / args.agent, CONFIGS] if args.agent in AGENTS else [CONFIGS]


KIND = Kind(LearnSettings, folders, "Pendulum-v1", flagged)


def asked(
    description: str | None = DESCRIPTION,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> AbstractContextManager[Asked[LearnSettings]]:
    """The arguments of `train`, from a command line. arguments: None takes this process's own."""
    parser = training_flags(description, program)
    parser.add_argument("--agent", metavar="NAME", help=f"{', '.join(AGENTS)}, a YAML file or package.module:Class")
    parser.add_argument("--mode", choices=["online", "offline"], help="when cgp or qgp trains its policy")
    parser.add_argument("--data", metavar="RUN", help="learn from the replay of a run first, or from minari:ID")
    parser.add_argument("--num-envs", type=int, metavar="N", help="number of environments that collect at once")
    return asked_of(parser, KIND, arguments, program)


def main(arguments: Sequence[str], program: str) -> None:
    with asked(DESCRIPTION, arguments, program) as run:
        run.tell(run.train())
