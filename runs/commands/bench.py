"""`elites bench`: one plan's time and memory, here and in other libraries."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elites import cli
from elites.runs.bench.comparison import contenders_of, in_turn, machine, rows_of, table, together
from elites.runs.bench.ours import GROUPS
from elites.runs.bench.peers import EVERYONE, absent
from elites.runs.bench.setting import SIZES, Contender, Setting
from elites.runs.commands.flags import Parser

DESCRIPTION = """How long one plan takes and what memory it needs, here and in other libraries.

  elites bench --planner cem cem_gd --size 4,1 --by torch kernel --rounds 5
  elites bench --reference torch --noise independent common --json > bench.json

Every contender plans through the same model (5 members of 3 × 200 with SiLU), for the same reward, from the same
observations: 45 steps, 20 particles, float32. Each contender has its own process. They take turns and plan one at a
time, so a noisy machine slows all of them equally. docs/performance/plans.md explains the columns."""


def flags(description: str | None = DESCRIPTION, program: str | None = None) -> Parser:
    parser = Parser(description, program)
    parser.add_argument("--planner", nargs="+", default=GROUPS, metavar="NAME", help="cem, cem_gd, …, or fast")
    parser.add_argument("--size", nargs="+", default=SIZES, metavar="S,A", help="sizes of observations and actions")
    parser.add_argument("--by", nargs="+", default=EVERYONE, metavar="NAME", help=", ".join(EVERYONE))
    parser.add_argument("--noise", nargs="+", default=["independent"], metavar="KIND", help="independent or common")
    parser.add_argument("--reference", metavar="NAME", help="one of --by (default: mbrl-lib, else torch)")
    parser.add_argument("--cold", action="store_true", help="also plans of 5 × 3000, such as CEM-GD's first")
    for name in ("members", "particles", "horizon", "rounds"):
        default = getattr(Setting, name)
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default: {default}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), metavar="N", help="in each process")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON document here")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def settings_of(args: argparse.Namespace) -> list[Setting]:
    """A setting for each size. A wrong argument raises before any measurement starts."""
    known = {"planner": GROUPS, "by": EVERYONE, "noise": ["independent", "common"], "reference": EVERYONE}
    for name, choices in known.items():
        for text in np.atleast_1d(getattr(args, name)).tolist():
            if text not in choices:
                raise ValueError(f"--{name}: expected {', '.join(choices[:-1])} or {choices[-1]}, got {text!r}")
    for text in args.size:
        if not re.fullmatch(r"\d+,\d+", text):
            raise ValueError(f"--size: expected two numbers such as 4,1, got {text!r}")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", args.device) or (args.device != "cpu" and not torch.cuda.is_available()):
        raise ValueError(f"--device: expected cpu, or cuda on a machine with CUDA, got {args.device!r}")
    if args.out:
        args.out.touch()
    sizes = [[int(number) for number in text.split(",")] for text in args.size]
    same = {key: getattr(args, key) for key in ("members", "particles", "horizon", "rounds", "threads", "device")}
    return [Setting(observation, action, **same) for observation, action in sizes]


def compared(contenders: list[Contender], setting: Setting, reference: str, screen: cli.Screen) -> list[dict[str, Any]]:
    """A row for each contender that did not crash, plan by plan."""
    rows, alive = list[dict[str, Any]](), contenders
    for plan in dict.fromkeys(one.planner for one in contenders):
        group = together(plan, alive, reference)
        found = in_turn(group, setting, screen)
        alive = [one for one in alive if one in found or one not in group]
        rows += [row for row in rows_of(found, setting, reference) if row["planner"] == plan]
    return rows


def compare(args: argparse.Namespace, command: Sequence[str]) -> None:
    """command: the command line, which the JSON document repeats."""
    args.reference = args.reference or ("torch" if absent("mbrl-lib", args.device) else "mbrl-lib")
    settings, screen = settings_of(args), cli.Screen(quiet=args.quiet)
    left_out = {by: why for by in args.by if (why := absent(by, args.device))}
    for by, why in left_out.items():
        screen.line(f"elites bench: {by} is left out: {why}")
    present = [by for by in args.by if by not in left_out]
    contenders, rows = contenders_of(args.planner, args.noise, args.cold, present), list[dict[str, Any]]()
    if not contenders:
        raise ValueError("--by: nobody is left who has one of these plans")
    for setting in settings:
        part = compared(contenders, setting, args.reference, screen)
        rows += part
        if not args.json:
            title = f"{'### ' * args.markdown}{setting.observation} observations, {setting.action} actions"
            print(f"{title}\n\n{table(part, args.reference, args.markdown)}\n", flush=True)
    document: dict[str, Any] = {"command": shlex.join(command), "rows": rows, "machine": machine(args.device)}
    document |= {"left_out": left_out, "reference": args.reference}
    document["settings"] = {
        key: value for key, value in asdict(settings[0]).items() if key not in ("observation", "action")
    }
    if args.out:
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    if args.json:
        print(json.dumps(document))
    if len(rows) < len(contenders) * len(settings):
        sys.exit(1)  # some contenders crashed


def main(arguments: Sequence[str], program: str) -> None:
    compare(flags(program=program).parse_args(arguments), [*program.split(), *arguments])
