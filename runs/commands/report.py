"""`elites report`: compares runs in one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from elites.runs.commands.flags import Parser
from elites.runs.report import found, write

DESCRIPTION = """Compares runs in one HTML page, which needs no other file.

  elites report                             # all runs below outputs/
  elites report outputs/swingup-* --out swingup.html

Runs that differ only in the seed form one group and share a colour. A run that has not ended is shown as far as it
got."""


def flags(description: str | None = DESCRIPTION, program: str | None = None) -> Parser:
    parser = Parser(description, program)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a run's folder (default: all in outputs/)")
    parser.add_argument("--out", type=Path, metavar="FILE.html", help="default: report.html beside the runs")
    return parser


def main(arguments: Sequence[str], program: str) -> None:
    args = flags(program=program).parse_args(arguments)
    print(write(args.runs or found(), args.out))
