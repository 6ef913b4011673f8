"""Plans that are action sequences beside plans that are policies: returns and plan times, with as many candidates.

    python benchmarks/policy_plans.py --envs elites/CartpoleSwingup-v0 --seeds 0 1 2 3 4
    python benchmarks/policy_plans.py --envs elites/HalfCheetah-v0 --planners cem --plans policy
    python benchmarks/policy_plans.py --table

Every run is one of `elites pets` with the settings of its environment. It adds a row to results/policy_plans.csv. A run
that is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from elites import cli
from elites.runs.bench.kept import Kept

KEPT = Kept(Path("results/policy_plans.csv"), ("env", "planner", "plan", "seed", "last_three", "best", "plan_ms"))
PLANS = {  # {name: settings}
    "sequence": [],
    "policy": ["plan=policy"],
    "policy of 16": ["plan=policy", "policy.hidden=[16]", "policy.activation=tanh"],
    "policy, fewer": ["plan=policy"],
}
FEWER = {  # {planner: settings}, for "policy, fewer": fewer candidates, or fewer steps of gradient
    "cem": ["planner.samples=20", "planner.elites=4"],
    "cem_gd": ["planner.ascent.steps=2"],
    "blend": ["planner.warm=20"],
    "lbfgs": ["planner.starts=2", "planner.steps=10"],
}


def run(env: str, planner: str, plan: str, seed: int) -> dict[str, str]:
    """Runs one combination, and returns its row."""
    folder = (
        Path("outputs/policy_plans")
        / f"{env.replace('/', '-')}-{planner}-{plan.replace(',', '').replace(' ', '_')}-{seed}"
    )
    settings = PLANS[plan] + (FEWER[planner] if plan == "policy, fewer" else [])
    command = [sys.executable, "-m", "elites", "pets", "--env", env, "--planner", planner, "--seed", str(seed)]
    command += ["--quiet", "--out", str(folder), *(f"--set={one}" for one in settings)]
    one_core = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=one_core)
    summary = json.loads((folder / "summary.json").read_text())
    figures = {"last_three": summary["last_three_mean"], "best": summary["best_return"]}
    figures["plan_ms"] = summary["plan_ms_median"]
    row = {"env": env, "planner": planner, "plan": plan, "seed": str(seed)}
    return row | {name: f"{value:.1f}" for name, value in figures.items()}


def table() -> str:
    """Means over the seeds, with the worst and the best seed, and the median time of a plan."""
    lines = ["| environment | planner | plan | seeds | last three episodes | worst to best seed | plan, ms |"]
    lines.append("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    for key in dict.fromkeys((row["env"], row["planner"], row["plan"]) for row in KEPT.rows()):
        same = KEPT.rows(**dict(zip(("env", "planner", "plan"), key, strict=True)))
        last = [float(row["last_three"]) for row in same]
        time = np.median([float(row["plan_ms"]) for row in same])
        figures = (len(same), f"{np.mean(last):.1f}", f"{min(last):.1f} to {max(last):.1f}", f"{time:.0f}")
        lines.append(f"| {' | '.join(map(str, (*key, *figures)))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--envs", nargs="+", default=["elites/CartpoleSwingup-v0", "elites/HalfCheetah-v0"], metavar="ENV"
    )
    parser.add_argument(
        "--planners", nargs="+", default=["cem", "cem_gd"], choices=FEWER, metavar="NAME", help=", ".join(FEWER)
    )
    parser.add_argument("--plans", nargs="+", default=list(PLANS), choices=PLANS, metavar="PLAN", help=", ".join(PLANS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--table", action="store_true", help="only print the table of the runs so far")
    args = parser.parse_args()
    asked = [
        (e, by, plan, seed) for seed in args.seeds for e in args.envs for by in args.planners for plan in args.plans
    ]
    for env, planner, plan, seed in [] if args.table else asked:
        if not KEPT.rows(env=env, planner=planner, plan=plan, seed=str(seed)):
            row = run(env, planner, plan, seed)
            KEPT.add(row)
            print(f"{env}  {planner}, {plan}, seed {seed}: {row['last_three']}, {row['plan_ms']} ms a plan", flush=True)
    print(table())


if __name__ == "__main__":
    cli.run(main)
