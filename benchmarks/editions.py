"""The time of a plan and an update in another checkout of this project and in this one: a check for refactoring.

    git worktree add ../before 4f6c4f0 && make -C ../before .venv/installed
    OMP_NUM_THREADS=1 python benchmarks/editions.py ../before

Each checkout has its own process. They take turns, so a noisy machine slows both equally. A plan uses a model of 18
observations and 6 actions, 45 steps and 20 particles. An update is a step of acting and of learning from a replay.
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
from elites.fields import Count, check

HERE = Path(__file__).parents[1]
PLANS = {
    "cem 50": {"name": "cem", "samples": 10, "elites": 1},
    "cem 500": {"name": "cem"},
    **{name: {"name": name} for name in ("cem_gd", "icem", "mppi", "predictive_sampling", "random_shooting")},
    **{name: {"name": name} for name in ("grad_cem", "gradient_ascent")},
}
UPDATES = {"td3": 40, "sac": 25, "cgp": 5}  # number of updates in one measurement

# Reads names from standard input, runs each, and answers its seconds. It also works with the names of old checkouts.
PROGRAM = """
import json, sys, time
import numpy as np, torch
import elites.agents
from elites import Box, config
from elites.agents import AGENTS, MPC
from elites.dynamics import ProbabilisticEnsemble, Return
from elites.planners import Planner

plans, updates = json.loads(sys.argv[1]), json.loads(sys.argv[2])
rng, one = torch.Generator().manual_seed(0), torch.ones(6)
model = ProbabilisticEnsemble(18, 6, rng=rng)
(model.mlp if hasattr(model, "mlp") else model).biases[-1].data[..., 18:] = -6.0
returns = Return(model, lambda s, a, n: -n.square().sum(1), particles=20, noise="independent")
first = not hasattr(MPC, "of")
space = Box(-one, one)


def agent(name):
    kind = elites.agents.OffPolicy if first else elites.agents.Agent
    found = kind(AGENTS[name](), 17, space, seed=0)
    for _ in range(300):
        row, after = torch.randn(2, 17, generator=rng)
        action = torch.rand(6, generator=rng) * 2 - 1
        if first:
            found.replay.add(state=row, action=action, reward=0.1, next_state=after, terminated=False)
        else:
            parts = row.numpy(), action.numpy(), 0.1, after.numpy(), False, False
            found.observe(elites.agents.Transition.one(*parts))
    return found


def mpc(planner):
    built = config.build(Planner, planner)
    return MPC(built, 45, returns=returns, box=space, seed=0) if first else MPC(built, 45, returns, space, seed=0)


acting = {name: mpc(planner) for name, planner in plans.items()}
learning = {name: agent(name) for name in updates}
seen = {name: torch.randn(18, generator=torch.Generator().manual_seed(1)) for name in plans}
for line in sys.stdin:
    name, began = line.strip(), time.perf_counter()
    if name in acting:
        acting[name](seen[name])
        seen[name] = seen[name] + 0.02 * torch.randn(18, generator=rng)
    for _ in range(updates.get(name, 0)):
        learning[name].act(np.zeros(17, np.float32))
        learning[name].update()
    print(time.perf_counter() - began, flush=True)
"""


class Checkout:
    """A process that plans and learns with the code of a checkout."""

    def __init__(self, root: Path) -> None:
        python = root / ".venv/bin/python"
        command = [str(python if python.exists() else sys.executable), "-c", PROGRAM]
        command += [json.dumps(PLANS), json.dumps(UPDATES)]
        environment = os.environ | {"PYTHONPATH": str(root)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=root, env=environment, stdin=pipe, stdout=pipe, text=True)

    def seconds(self, name: str) -> float:
        assert self.process.stdin
        assert self.process.stdout
        print(name, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise ValueError(f"expected a checkout that runs {name}, but its process ended")
        return float(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    check("--rounds", args.rounds, Count)
    if not (args.before / "planners").is_dir():
        raise ValueError(f"{args.before}: expected a checkout of this project")
    before, now = Checkout(args.before.resolve()), Checkout(HERE)
    names = [*PLANS, *UPDATES]
    times = np.array([[(before.seconds(n), now.seconds(n)) for n in names] for _ in range(1 + args.rounds)])[1:]
    print(f"{'':<22}{'before':>11}{'now':>12}{'now / before':>15}")
    for number, name in enumerate(names):
        first, second = 1e3 * np.median(times[:, number], 0) / UPDATES.get(name, 1)
        ratio = np.median(times[:, number, 1] / times[:, number, 0])
        print(f"{name:<22}{first:>8.2f} ms{second:>9.2f} ms{ratio:>15.3f}")


if __name__ == "__main__":
    cli.run(main)
