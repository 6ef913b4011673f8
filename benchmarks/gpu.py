"""Checks a GPU's results against the CPU's, and measures plans and updates there; `make gpu`, under 8 minutes.

python benchmarks/gpu.py --out results/gpu.json
python benchmarks/gpu.py --only checks
python benchmarks/gpu.py --device cpu --only checks    # a dry run of what needs no GPU
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator

from elites import Box, cli, config
from elites.agents import AGENTS, MPC, Agent
from elites.dynamics import EnsembleConfig, ProbabilisticEnsemble, Return
from elites.dynamics.ensemble import NETWORKS, PETS_NETWORKS
from elites.planners import CEM, PLANNERS, Planner
from elites.runs.bench.comparison import in_turn, machine, rows_of, table
from elites.runs.bench.peers import absent
from elites.runs.bench.setting import SIZES, Contender, Setting, reward

SECTIONS = ("checks", "plans", "updates", "many")
HORIZON = 45
PLANS = {"cem 50": ("mbrl-lib", "xla"), "cem 500": ("mbrl-lib", "xla"), "cem_gd": ()}  # and the peers' for each


# --- agreement -------------------------------------------------------------------------------------------------------


class Checks:
    """Prints a line for every check, and counts those that fail."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def __call__(self, name: str, check: Callable[[], tuple[bool, str]]) -> None:
        try:
            good, text = check()
        except Exception:
            good, text = False, traceback.format_exc()
        print(f"{'ok    ' if good else 'FAILED'}  {name}: {text}", flush=True)
        if not good:
            self.failed.append(name)


def model_of(
    size: int, action: int, device: str, sampling: Any = "float32", norm: bool = True
) -> ProbabilisticEnsemble:
    """A model with weights that do not depend on the device, and a normaliser that shifts and scales."""
    rng = Generator().manual_seed(0)
    networks = NETWORKS if norm else PETS_NETWORKS
    model = ProbabilisticEnsemble(size, action, EnsembleConfig(architecture=networks, sampling=sampling), rng=rng)
    with torch.no_grad():
        for parameter in [*model.mlp.gains, *model.mlp.offsets, *model.mlp.biases]:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
    states = 2 + torch.randn(100, size, generator=rng)
    changes = 0.1 * torch.randn(100, size, generator=rng)
    model.normalise(torch.cat([states, torch.randn(100, action, generator=rng)], 1), changes)
    there = ProbabilisticEnsemble(size, action, model.config, rng=Generator(device))
    there.load_state_dict(model.state_dict())
    return there.requires_grad_(False)


def norm(x: torch.Tensor) -> float:
    return float(x.double().norm())


def rollouts_agree(size: int, action: int, rows: int, noise: str, norm_layers: bool, device: str) -> tuple[bool, str]:
    """The CPU's torch, the GPU's torch and the fused kernel, from the same numbers."""
    rng = Generator().manual_seed(1)
    state, moves = torch.randn(2, size, generator=rng), torch.rand(2, rows // 2, HORIZON, action, generator=rng) * 2 - 1
    cpu, gpu = (model_of(size, action, where, norm=norm_layers) for where in ("cpu", device))
    drawn = cpu.draw(20, HORIZON, rng)
    there = gpu.draw(20, HORIZON, Generator(device))
    epsilon = torch.randn(20, 1 if noise == "common" else rows, HORIZON, size, generator=rng)
    assert drawn.noise
    assert there.noise
    drawn = replace(drawn, noise=replace(drawn.noise, epsilon=epsilon), cache={})
    there = replace(there, noise=replace(there.noise, epsilon=epsilon.to(device)), cache={})
    exact = cpu.rollout(state, moves, drawn)
    torchs = gpu.rollout(state.to(device), moves.to(device), there).cpu()
    there.cache.clear()
    gpu.config = replace(gpu.config, sampling="bfloat16")
    fused = gpu.rough_rollout(state.to(device), moves.to(device), there).cpu()
    moved = norm(exact - state[:, None, None, None])
    errors = norm(torchs - exact) / moved, norm(fused - exact) / moved
    good = errors[0] < 1e-4 and errors[1] < 2e-2 and bool(fused.isfinite().all())
    right = gpu.engine == "cuda" or device == "cpu"
    return good and right, f"torch {errors[0]:.1e}, {gpu.engine} {errors[1]:.1e} of the distance moved"


def agent_of(planner: Planner, device: str, graphs: bool, sampling: Any = "float32") -> MPC:
    model = model_of(18, 6, device, sampling)
    one = torch.ones(6)
    returns = Return(model, reward, particles=20, noise="independent")
    return MPC(planner, 15, returns, Box(-one, one), seed=0, device=device, graphs=graphs)


def graphs_agree(planner: Planner, sampling: str, device: str) -> tuple[bool, str]:
    """The actions of five plans, with and without a graph: the same bits."""
    observations = torch.randn(5, 3, 18, generator=Generator().manual_seed(0))
    agents = [agent_of(planner, device, graphs, sampling) for graphs in (device != "cpu", False)]  # recorded first
    with torch.no_grad():
        recorded, plain = ([agent(x) for x in observations] for agent in agents)
    if device != "cpu" and not (agents[0]._graphs and agents[0]._graphs.recorded):
        return False, "no plan was recorded"
    differ = sum(not torch.equal(a, b) for a, b in zip(plain, recorded, strict=True))
    return differ == 0, f"{differ} of {len(plain)} actions differ"


def learner_of(name: str, device: str, graphs: bool) -> Agent:
    """An agent with a replay of HalfCheetah's sizes and random numbers, and batches of 256."""
    algorithm = replace(AGENTS[name](), batch=256, graphs=graphs)
    one = torch.ones(6)
    agent = Agent(algorithm, 17, Box(-one, one), 0, device)
    rng, count = np.random.default_rng(0), 10_000
    rows: dict[str, Any] = {
        "state": rng.normal(size=(count, 17)),
        "action": rng.uniform(-1, 1, (count, 6)),
        "reward": rng.normal(size=count),
        "next_state": rng.normal(size=(count, 17)),
        "terminated": np.zeros(count, bool),
        "truncated": np.arange(count) % 1000 == 999,
        "where": np.zeros(count, int),
    }
    rows |= {name: rows["action"] for name in agent.replay.schema if name not in rows}
    agent.replay.extend({name: torch.as_tensor(x) if device != "cpu" else x for name, x in rows.items()})
    return agent


def updates_agree(name: str, device: str) -> tuple[bool, str]:
    """The weights after 50 updates, with and without graphs."""
    plain, recorded = (learner_of(name, device, graphs) for graphs in (False, device != "cpu"))
    for agent in (plain, recorded):
        for _ in range(50):
            agent.update()
    worst = max(float((plain.nets.vector(n) - recorded.nets.vector(n)).abs().max()) for n in plain.nets.modules)
    return worst == 0, f"largest difference of a weight {worst:.1e}"


def check(device: str) -> list[str]:
    checks = Checks()
    for text in SIZES:
        size, action = map(int, text.split(","))
        for norm_layers in (False, True):
            for rows, noise in ((100, "independent"), (1000, "common")):
                name = f"rollout {text}, {rows} rows, {noise} noise{', normalised' if norm_layers else ''}"
                checks(name, partial(rollouts_agree, size, action, rows, noise, norm_layers, device))
    for name in PLANNERS:
        planner = config.build(Planner, {"name": name}, name)  # type: ignore[type-abstract]
        checks(f"graph of {name}", partial(graphs_agree, planner, "float32", device))
    checks("graph of cem, bfloat16", partial(graphs_agree, CEM(), "bfloat16", device))
    for name in ("td3", "sac"):
        checks(f"graph of an update of {name}", partial(updates_agree, name, device))
    return checks.failed


# --- measurements ----------------------------------------------------------------------------------------------------


def plans(device: str, sizes: list[str], rounds: int, screen: cli.Screen) -> list[dict[str, Any]]:
    found = []
    for text in sizes:
        size, action = map(int, text.split(","))
        setting = Setting(size, action, rounds=rounds, device=device)
        for plan, peers in PLANS.items():
            if plan != "cem 500" and text not in ("18,6", "45,17"):
                continue
            present = [by for by in (*peers, "torch", "graphs", "fused") if not absent(by, device)]
            rows = rows_of(in_turn([Contender(plan, by) for by in present], setting, screen), setting, present[0])
            print(f"\n{text}\n{table(rows, present[0], markdown=False)}", flush=True)
            found += rows
    return found


def updates(device: str, count: int = 1500) -> list[dict[str, Any]]:
    """Updates a second, each agent with and without graphs, after 100 that are not measured."""
    found = []
    for name in ("td3", "sac"):
        for graphs in (False, True) if device != "cpu" else (False,):
            agent = learner_of(name, device, graphs)
            for number in range(100 + count):
                if number == 100:
                    _wait(device)
                    began = time.perf_counter()
                agent.update()
            _wait(device)
            seconds = time.perf_counter() - began
            found.append({"agent": name, "graphs": graphs, "batch": 256, "updates_per_s": count / seconds})
            print(f"{name:6} {'graphs' if graphs else 'eager ':6}  {count / seconds:8.0f} updates a second", flush=True)
    return found


def many(device: str, counts: tuple[int, ...] = (1, 16, 128, 1024)) -> list[dict[str, Any]]:
    """Problems planned in one call: CEM 500, 20 particles, size 18,6, with the fused rollout in a graph."""
    found = []
    for count in counts:
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        one = torch.ones(6)
        model = model_of(18, 6, device, "bfloat16", norm=False)
        returns = Return(model, reward, particles=20, noise="common")
        agent = MPC(CEM(), HORIZON, returns, Box(-one, one), seed=0, device=device, graphs=device != "cpu")
        observations = torch.randn(5, count, 18, device=device)
        times = []
        for observation in observations:
            _wait(device)
            began = time.perf_counter()
            agent(observation)
            _wait(device)
            times.append(time.perf_counter() - began)
        best = 1e3 * float(np.median(times[2:]))
        peak = torch.cuda.max_memory_allocated() / 2**20 if device != "cpu" else 0.0
        found.append({"problems": count, "ms": best, "peak_mb": peak})
        print(
            f"{count:5} problems  {best:9.2f} ms a call  {best / count:8.3f} ms each  peak {peak:.0f} MiB", flush=True
        )
        del agent, returns, model
    return found


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=SECTIONS, choices=SECTIONS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="S,A")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures here as JSON")
    args = parser.parse_args()
    if args.device != "cpu" and not torch.cuda.is_available():
        raise ValueError(
            f"--device: expected a machine with CUDA, got {args.device!r} on one without; --device cpu is a dry run"
        )
    began, screen = time.perf_counter(), cli.Screen(quiet=not sys.stderr.isatty())
    document: dict[str, Any] = {"machine": machine(args.device), "command": " ".join(["python", *sys.argv])}
    print(json.dumps(document["machine"]), flush=True)
    failed = check(args.device) if "checks" in args.only else []
    document["failed"] = failed
    works: dict[str, Callable[[], Any]] = {
        "updates": lambda: updates(args.device, 1500 if args.device != "cpu" else 50),
        "many": lambda: many(args.device, (1, 16, 128, 1024) if args.device != "cpu" else (1, 2)),
        "plans": lambda: plans(args.device, args.sizes, args.rounds, screen),
    }
    for name, work in works.items():
        if name in args.only:
            print(f"\n{name}", flush=True)
            try:
                document[name] = work()
            except Exception:
                failed.append(name)
                traceback.print_exc()
    if args.out:
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\n{time.perf_counter() - began:.0f} s; {'failed: ' + ', '.join(failed) if failed else 'all checks hold'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    cli.run(main)
