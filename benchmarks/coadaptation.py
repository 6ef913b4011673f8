"""Changes one implementation detail of an agent at a time, beside the returns of Furuta et al. (2021).

    python benchmarks/coadaptation.py --envs Hopper-v5 --seeds 0 1 2
    python benchmarks/coadaptation.py --envs HalfCheetah-v5 --cells sac "sac, single Q"
    python benchmarks/coadaptation.py --table

Every run adds a row to results/coadaptation.csv. A run that is there already is not run again. SAC learns for 100,000
steps, MPO for 400,000, which are half as many updates, and AWR for 450,000.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from elites import cli
from elites.runs.bench.kept import Kept

KEPT = Kept(Path("results/coadaptation.csv"), ("env", "cell", "seed", "steps", "return", "best", "seconds", "error"))
STEPS = {"sac": 100_000, "mpo": 400_000, "awr": 450_000, "awac": 100_000}
TABLE_4 = ["agent.batch=256", "agent.network=sac"]
ELU = ["agent.network.policy.activation=elu", "agent.network.value.activation=elu"]
NORM = ["agent.network.policy.layer_norm=first", "agent.network.value.layer_norm=first"]
UNNORMED = ["agent.network=mpo", "agent.network.policy.layer_norm=none", "agent.network.value.layer_norm=none"]
# {cell: settings}; the first word is the agent. The published code of "MPO-E-L-" removes the normalisation alone.
CELLS = {
    "sac": TABLE_4,
    "sac, no tanh": [*TABLE_4, "agent.head.bound=none"],
    "sac, single Q": [*TABLE_4, "agent.critics=1"],
    "sac, MPO's networks": [*TABLE_4, "agent.network=mpo"],
    "sac, ELU": [*TABLE_4, *ELU],
    "sac, layer norm": [*TABLE_4, *NORM],
    "awr": [],
    "awr, tanh": ["agent.head.bound=sample"],
    "mpo": [],
    "mpo, tanh": ["agent.head.bound=sample"],
    "mpo, SAC's networks": ["agent.network=sac"],
    "mpo, no layer norm": UNNORMED,
    "mpo, double Q": ["agent.critics=2"],
    "awr, MPO's networks": ["agent.network=mpo"],
    "awr, SAC's networks": ["agent.network=sac"],
    "sac, AWR's networks": [*TABLE_4, "agent.network=awr"],
    "mpo, AWR's networks": ["agent.network=awr"],
    "sac, ELU and layer norm": [*TABLE_4, *ELU, *NORM],
}
# Tables 2, 3, 5, 7 and 11: the ends after 1,000,000 steps (Hopper) and 3,000,000 (HalfCheetah). † is a numerical error.
PAPER = {
    "Hopper-v5": {
        "sac": "3013", "sac, no tanh": "6", "sac, single Q": "1601", "sac, MPO's networks": "2239",
        "sac, ELU": "2337", "sac, layer norm": "2368", "sac, ELU and layer norm": "1926", "sac, AWR's networks": "651†",
        "awr": "3085", "awr, tanh": "3267", "awr, MPO's networks": "2509", "awr, SAC's networks": "2352",
        "mpo": "2136", "mpo, tanh": "301†", "mpo, SAC's networks": "1108", "mpo, no layer norm": "843",
        "mpo, double Q": "2352", "mpo, AWR's networks": "623",
    },
    "HalfCheetah-v5": {
        "sac": "15254", "sac, no tanh": "−∞", "sac, single Q": "15701", "sac, MPO's networks": "16541",
        "sac, ELU": "15350", "sac, layer norm": "13074", "sac, ELU and layer norm": "12555",
        "sac, AWR's networks": "589†", "awr": "5742", "awr, tanh": "1159†", "awr, MPO's networks": "485",
        "awr, SAC's networks": "1060", "mpo": "11769", "mpo, tanh": "831†", "mpo, SAC's networks": "−∞",
        "mpo, no layer norm": "−1363", "mpo, double Q": "12028", "mpo, AWR's networks": "339",
    },
}  # fmt: skip


def run(env: str, cell: str, seed: int) -> dict[str, str]:
    """Runs one cell, and returns its row."""
    agent, steps = cell.partition(",")[0], STEPS[cell.partition(",")[0]]
    folder = Path("outputs/coadaptation") / f"{env}-{cell.replace(', ', '-').replace(' ', '_')}-{seed}"
    settings = [f"steps={steps}", f"evaluate_every={steps // 10}", "evaluation_episodes=10", *CELLS[cell]]
    command = [sys.executable, "-m", "elites", "learn", "--env", env, "--agent", agent, "--seed", str(seed), "--quiet"]
    command += ["--out", str(folder), *(f"--set={one}" for one in settings)]
    one_core = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=one_core)
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    found = [row for row in rows if row["phase"] in ("evaluation", "final")] or [{"env_steps": "0", "return": "nan"}]
    returns = [float(row["return"]) for row in found]
    figures = {"return": f"{returns[-1]:.1f}", "best": f"{max(returns):.1f}", "steps": found[-1]["env_steps"]}
    began = (folder / "config.yaml").stat().st_mtime
    seconds = f"{(folder / 'metrics.csv').stat().st_mtime - began:.0f}"
    error = "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
    if error.endswith("stopped"):  # a run that a person stopped is no result
        sys.exit(error)
    return {"env": env, "cell": cell, "seed": str(seed), **figures, "seconds": seconds, "error": error}


def table(envs: Iterable[str]) -> str:
    """Means and standard deviations over the seeds. † marks cells with a run that ended by a numerical error."""
    lines = []
    for env in envs:
        lines += [f"| {env} | return | seeds | paper, at its end |", "| --- | ---: | ---: | ---: |"]
        for cell in CELLS:
            of = KEPT.rows(env=env, cell=cell)
            if not of:
                continue
            whole = [float(row["return"]) for row in of if not row["error"]]
            mark = "†" if len(whole) < len(of) else ""
            spread = f" ± {np.std(whole):.0f}" if len(whole) > 1 else ""
            mean = f"{np.mean(whole):.0f}{spread}" if whole else ""
            lines.append(f"| {cell} | {mean}{mark} | {len(of)} | {PAPER[env].get(cell, '')} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", default=list(PAPER), metavar="ENV")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), metavar="CELL", help=", ".join(CELLS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="only print the table of what there is")
    args = parser.parse_args()
    if unknown := [cell for cell in args.cells if cell not in CELLS]:
        raise ValueError(f"--cells {unknown[0]}: expected some of {', '.join(CELLS)}")
    if not args.table:
        for seed in args.seeds:
            for cell in args.cells:
                for env in args.envs:
                    if not KEPT.rows(env=env, cell=cell, seed=str(seed)):
                        row = run(env, cell, seed)
                        KEPT.add(row)
                        print(f"{env}  {cell}, seed {seed}: {row['return']} in {row['seconds']} s {row['error']}")
    print(table(args.envs))


if __name__ == "__main__":
    cli.run(main)
