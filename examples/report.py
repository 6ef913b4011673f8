"""Compares runs in one HTML page, which needs no other file: `elites report`.

    python examples/report.py                                   # all runs below outputs/
    python examples/report.py outputs/swingup-cem-0 outputs/swingup-icem-0 --out swingup.html

Runs that differ only in the seed form one group and share a colour. A run that has not ended is shown as far as it got.
"""

from elites import cli
from elites.runs.commands.report import flags
from elites.runs.report import found, write


def main() -> None:
    args = flags(__doc__).parse_args()
    print(write(args.runs or found(), args.out))


if __name__ == "__main__":
    cli.run(main)
