"""Stable-Baselines3's TD3, SAC, PPO and TRPO to compare with ours: the same networks, batch, schedule and evaluations.

    .venv-mbrl/bin/python benchmarks/sb3.py --agent td3 --env HalfCheetah-v5 --out outputs/sb3/td3-0
    .venv-mbrl/bin/python benchmarks/sb3.py --agent ppo --env Hopper-v5 --steps 301056 --evaluate-every 20480 \
      --out outputs/sb3/ppo-0

PPO and TRPO learn from segments of 2,048 steps, so other numbers of steps are rounded up.
`make .venv-mbrl/peers` installs it. A run's folder has a metrics.csv and a summary.json, like runs of examples/cgp.py.
benchmarks/pace.py compares the time of a step.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

from elites import cli
from elites.runs import together
from elites.runs.bench.sb3 import OFF_POLICY, ON_POLICY, Theirs, model_for
from elites.runs.environments import make
from elites.runs.evaluation import evaluate


def train(args: argparse.Namespace, screen: cli.Screen) -> None:
    env, *others = (make(args.env) for _ in range(11))
    shows = together(others)
    model, began, rows = model_for(args.agent, env, args.seed, args.random_steps), time.perf_counter(), []
    args.out.mkdir(parents=True, exist_ok=True)
    while model.num_timesteps < args.steps:
        until = min(args.steps, (model.num_timesteps // args.evaluate_every + 1) * args.evaluate_every)
        model.learn(until - model.num_timesteps, reset_num_timesteps=False)
        until = model.num_timesteps
        found = evaluate(Theirs(model), shows, lambda *_: True)
        assert found
        phase = "final" if until >= args.steps else "evaluation"
        if until > args.random_steps:
            rows.append({"phase": phase, "env_steps": until, **found.figures()})
            screen.line(f"step {until}/{args.steps}  return {rows[-1]['return']:.1f}")
        with (args.out / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0] if rows else ["phase"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    summary = {"env": args.env, "seed": args.seed, "final_evaluation_mean": rows[-1]["return"]}
    summary |= {"env_steps": rows[-1]["env_steps"], "wall_s": round(time.perf_counter() - began, 1)}
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", choices=[*OFF_POLICY, *ON_POLICY], default="td3")
    parser.add_argument("--env", default="Pendulum-v1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--random-steps", type=int, help="10,000 by default; PPO and TRPO begin without")
    parser.add_argument("--evaluate-every", type=int, default=5_000)
    parser.add_argument("--out", type=Path, metavar="DIR")
    args = parser.parse_args()
    if args.out is None:
        raise ValueError("--out: expected a folder for the run")
    if any((args.out / name).exists() for name in ("config.yaml", "metrics.csv")):
        raise ValueError(f"--out: {args.out} holds a run already")
    if args.evaluate_every < 1:
        raise ValueError(f"--evaluate-every: expected at least 1, got {args.evaluate_every}")
    if args.random_steps is None:
        args.random_steps = 10_000 if args.agent in OFF_POLICY else 0
    if args.steps <= args.random_steps:
        raise ValueError(f"--steps: expected more than the {args.random_steps} random ones, got {args.steps}")
    train(args, cli.Screen())


if __name__ == "__main__":
    cli.run(main)
