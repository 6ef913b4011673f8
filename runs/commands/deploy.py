"""`elites deploy`: exports the policy of a run as files that work without this library."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from elites import cli
from elites.runs import kinds
from elites.runs.commands.flags import Parser, count, run_flag
from elites.runs.deploy import compared, exported, table, with_policy
from elites.runs.mujoco_log import mujoco_log

DESCRIPTION = """Exports the policy of a run of `elites learn` or `elites search`, and times it beside a search.

  elites deploy outputs/HalfCheetah-v5-cgp-0

Writes policy.pt2 (torch.export) into the run's folder, and policy.onnx if elites[onnx] is installed. A fresh process
then loads the files without this library and acts on observations, those of the replay buffer if there is one. Its
actions must match the agent's."""


def flags(description: str | None = DESCRIPTION, program: str | None = None) -> Parser:
    parser = Parser(description, program)
    run_flag(parser)
    parser.add_argument("--steps", type=count, default=1000, help="number of observations (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, and no table")
    return parser


def tell(args: argparse.Namespace, files: Sequence[Path], seconds: Mapping[str, Sequence[float]]) -> None:
    """Prints the table of medians, or one line of JSON."""
    screen = cli.Screen(quiet=args.json)
    medians = {name: 1e3 * float(np.median(times)) for name, times in seconds.items()}
    if args.json:
        env = kinds.settings_of(args.run).env
        print(json.dumps({"env": env, "files": [str(file) for file in files], "ms": medians}))
        return
    if len(files) == 1:
        screen.line('no policy.onnx: it needs pip install "elites[onnx]"')
    screen.line(f"{', '.join(map(str, files))}; {torch.get_num_threads()} threads, {args.steps} observations, medians:")
    print(table(medians))


def main(arguments: Sequence[str], program: str) -> None:
    args = flags(program=program).parse_args(arguments)
    say = cli.Screen().warn
    with mujoco_log(say):
        agent = with_policy(args.run, say)
    files = exported(agent, args.run)
    tell(args, files, compared(agent, files, args.steps))
