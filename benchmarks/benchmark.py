"""How long one plan takes and what memory it needs, here and in other libraries: `elites bench` from a checkout.

    make bench
    python benchmarks/benchmark.py --planner cem cem_gd --size 4,1 --by torch mbrl-lib --rounds 5
    python benchmarks/benchmark.py --reference torch --noise independent common --json > benchmark.json

runs/bench/ has the contenders and the measurements. docs/performance/plans.md explains the columns.
"""

import sys

from elites import cli
from elites.runs.commands.bench import compare, flags

if __name__ == "__main__":
    cli.run(lambda: compare(flags(__doc__).parse_args(), ["python", "benchmarks/benchmark.py", *sys.argv[1:]]))
