"""Takes the trained policy out of a run of examples/cgp.py, and compares what an action costs with and without search.

    python examples/deploy.py outputs/HalfCheetah-v5-cgp-0

writes policy.pt2 (torch.export) and, where elites[onnx] is installed, policy.onnx into the run's folder. A fresh
process without this library then loads them and acts on observations of the replay buffer; its actions must be the
agent's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elites import cli
from elites.agents import Agent, QtOpt
from elites.agents.searched import PI_CEM, Searched
from elites.networks.critics import Critics
from elites.networks.policies import Policy
from elites.planners import CEM
from elites.runs.learn import trained

# All that it takes to act: a file of the policy, observations (N, S) in, actions (N, A) and the seconds of each out.
FRESH = """
import sys, time
import numpy as np

file, observations, answers, threads = sys.argv[1:]
if file.endswith(".onnx"):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(file, options)
    act = lambda x: session.run(None, {session.get_inputs()[0].name: x})[0]
else:
    import torch
    torch.set_num_threads(int(threads))
    policy = torch.export.load(file).module(check_guards=False)
    act = lambda x: policy(torch.from_numpy(x)).detach().numpy()

actions, seconds = [], []
for observation in np.load(observations):
    began = time.perf_counter()
    action = act(observation[None])
    seconds.append(time.perf_counter() - began)
    actions.append(action[0])
assert "elites" not in sys.modules
np.savez(answers, actions=actions, seconds=seconds)
"""


def export(policy: Policy, size: int, folder: Path) -> Path:
    """policy.pt2: states (N, S) -> actions (N, A), for any N."""
    file = folder / "policy.pt2"
    rows = {"state": {0: torch.export.Dim("rows")}}
    program = torch.export.export(policy.eval(), (torch.zeros(2, size),), dynamic_shapes=rows)
    torch.export.save(program, file)
    return file


def export_onnx(policy: Policy, size: int, folder: Path) -> Path:
    """The same as policy.onnx."""
    file = folder / "policy.onnx"
    rows = {"state": {0: torch.export.Dim("rows")}}
    with quietly():
        torch.onnx.export(
            policy.eval(), (torch.zeros(2, size),), file, dynamo=True, dynamic_shapes=rows, external_data=False,
            input_names=["state"], output_names=["action"], verbose=False,
        )  # fmt: skip
    return file


@contextmanager
def quietly() -> Iterator[None]:
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def alone(file: Path, observations: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Actions and seconds of each, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder) / "observations.npy", Path(folder) / "answers.npz"
        np.save(given, observations)
        arguments = [sys.executable, "-I", "-c", FRESH, file.resolve(), given, answers, torch.get_num_threads()]
        done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode:
            raise ValueError(f"{file}: cannot be run alone: {done.stderr.strip().splitlines()[-1]}")
        with np.load(answers) as found:
            return found["actions"], found["seconds"]


def timed(act: Callable[[Any], Any], observations: np.ndarray[Any, Any]) -> list[float]:
    seconds = []
    for observation in observations:
        began = time.perf_counter()
        act(observation)
        seconds.append(time.perf_counter() - began)
    return seconds


def searching(agent: Agent, iterations: int) -> Callable[[Any], Any]:
    """πCEM over the same Q-function, the run's own where it has one."""
    own = agent.algorithm
    rule = own if isinstance(own, Searched) else QtOpt()
    search = rule.search if isinstance(rule.search, CEM) else PI_CEM
    rule, critics = replace(rule, search=replace(search, iterations=iterations)), agent.nets.modules["critics"]
    assert isinstance(critics, Critics)

    def act(observation: Any) -> Any:
        state = torch.as_tensor(observation, dtype=torch.float32)[None]
        return agent.spaces.to_env(rule.best(critics, agent.nets, state))[0]

    return act


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run of examples/cgp.py")
    parser.add_argument("--steps", type=int, default=1000, help="observations to act on")
    parser.add_argument("--json", action="store_true", help="one line of JSON, and no table")
    args = parser.parse_args()
    if args.steps < 1:
        raise ValueError(f"--steps: expected at least 1, got {args.steps}")
    screen = cli.Screen(quiet=args.json)
    agent, settings = trained(args.run, screen.warn)
    policy = agent.nets.modules.get("policy")
    if not isinstance(policy, Policy):
        raise ValueError(f"{args.run}: expected a run that trained a policy, but qt_opt has none; cgp and qgp do")
    if agent.unfinished:
        raise ValueError(f"{args.run}: expected a policy that has learned, but this one waits; cgp.py --resume goes on")
    seen = agent.replay.column("state").numpy()
    observations = seen[np.linspace(0, len(seen) - 1, args.steps).astype(int)]
    expected = np.stack([agent.act(observation, explore=False) for observation in observations])

    files = [export(policy, seen.shape[1], args.run)]
    if all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        files.append(export_onnx(policy, seen.shape[1], args.run))
    else:
        screen.line('no policy.onnx: pip install "elites[onnx]" brings what it needs')
    seconds: dict[str, Any] = {}
    for file in files:
        actions, seconds[f"{file.name}, alone"] = alone(file, observations)
        if not np.allclose(actions, expected, atol=1e-5 * policy.reach.numpy()):
            raise ValueError(f"{file}: expected the agent's actions, found {np.abs(actions - expected).max():.2g} off")
    seconds["policy, in the agent"] = timed(lambda x: agent.act(x, explore=False), observations)
    for iterations in (2, 4):
        seconds[f"πCEM, {iterations} iterations"] = timed(searching(agent, iterations), observations)

    medians = {name: 1e3 * float(np.median(times)) for name, times in seconds.items()}
    if args.json:
        print(json.dumps({"env": settings.env, "files": [str(file) for file in files], "ms": medians}))
        return
    screen.line(f"{', '.join(map(str, files))}; {torch.get_num_threads()} threads, {args.steps} observations, medians:")
    print(f"{'':<24}{'an action':>12}{'1000 of them':>14}")
    for name, ms in medians.items():
        print(f"{name:<24}{ms:>9.3f} ms{ms:>12.2f} s")


if __name__ == "__main__":
    cli.run(main)
