"""`elites export`: a run's replay as a Minari dataset."""

from __future__ import annotations

from collections.abc import Sequence

from elites.runs import data, kinds
from elites.runs.commands.flags import Parser, run_flag

DESCRIPTION = """Writes the replay of a run as a Minari dataset, for any library that reads those.

  elites export outputs/Hopper-v5-sac-0
  elites export outputs/Hopper-v5-sac-0 --name hopper/mine-v0
  elites learn --env Hopper-v5 --agent awac --data minari:hopper/mine-v0

Needs pip install "elites[minari]"."""


def main(arguments: Sequence[str], program: str) -> None:
    parser = Parser(DESCRIPTION, program)
    run_flag(parser)
    parser.add_argument("--name", metavar="ID", help="the dataset's id (default: elites/RUN-v0)")
    args = parser.parse_args(arguments)
    settings = kinds.settings_of(args.run)
    name = args.name or f"elites/{args.run.resolve().name}-v0"
    count = data.export(args.run, name, settings.make_environment())
    print(f"{count} transitions in {data.MINARI}{name}")
