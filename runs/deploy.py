"""Exports the policy of a run, checks it in a process without this library, and times it against a search."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from elites.agents import Agent, QtOpt
from elites.agents.algorithms.searched import PI_CEM, Searched
from elites.agents.policy_search import PolicySearch
from elites.agents.shown import ShownPolicy
from elites.networks.critics import Critics
from elites.networks.policies import Policy
from elites.planners import CEM
from elites.runs import kinds
from elites.runs.load import load
from elites.spaces import Box

WANTED = "expected a run of `elites learn` or `elites search` that trained a policy"
SEARCHES = (2, 4)  # iterations of πCEM to compare with

# A program that acts without this library: a policy's file and observations (N, S) -> actions (N, A), seconds of each.
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
    program = torch.export.load(file)
    try:
        policy = program.module(check_guards=False)
    except TypeError:  # an older torch, which checks no guards
        policy = program.module()
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


def with_policy(run: Path, say: Callable[[str], None] = warnings.warn) -> Agent | PolicySearch:
    """The agent of a run with a trained policy. Raises a ValueError for any other run."""
    agent = load(run, say)
    if isinstance(agent, PolicySearch):
        if reason := agent.uncertain:
            raise ValueError(f"{run}: {WANTED} whose actions are certain, got {reason}")
        return agent
    if not isinstance(agent, Agent):
        planner = kinds.mapping_of(run)["planner"]["name"]
        raise ValueError(f"{run}: {WANTED}, got a run of PETS, which plans with {planner} and has no policy")
    if not isinstance(agent.nets.modules.get("policy"), Policy):
        name = kinds.mapping_of(run)["agent"]["name"]
        raise ValueError(f"{run}: {WANTED}, got a run of {name}, which has none that can be exported")
    if agent.unfinished:
        raise ValueError(f"{run}: {WANTED}, got an untrained policy: elites learn --resume {run}")
    return agent


def policy_of(agent: Agent | PolicySearch) -> nn.Module:
    """States (N, S) -> the environment's actions (N, A)."""
    return ShownPolicy(agent) if isinstance(agent, PolicySearch) else agent.nets.modules["policy"]


def export(policy: nn.Module, size: int, folder: Path) -> Path:
    """Writes policy.pt2: states (N, S) -> actions (N, A), for any N."""
    file = folder / "policy.pt2"
    rows = {"state": {0: torch.export.Dim("rows")}}
    program = torch.export.export(policy.eval(), (torch.zeros(2, size),), dynamic_shapes=rows)
    torch.export.save(program, file)
    return file


def export_onnx(policy: nn.Module, size: int, folder: Path) -> Path:
    """Writes policy.onnx: states (N, S) -> actions (N, A), for any N."""
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


def exported(agent: Agent | PolicySearch, folder: Path) -> list[Path]:
    """Writes policy.pt2, and policy.onnx if elites[onnx] is installed. Returns the files."""
    policy, size = policy_of(agent), agent.spaces.state_size
    files = [export(policy, size, folder)]
    if all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        files.append(export_onnx(policy, size, folder))
    return files


def alone(file: Path, observations: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The actions and the seconds of each, from a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder) / "observations.npy", Path(folder) / "answers.npz"
        np.save(given, observations)
        arguments = [sys.executable, "-I", "-c", FRESH, file.resolve(), given, answers, torch.get_num_threads()]
        done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode:
            raise ValueError(f"{file}: does not run without elites: {done.stderr.strip().splitlines()[-1]}")
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
    """Acts by πCEM over the same Q-function, with the run's own search if it has one."""
    own = agent.algorithm
    rule = own if isinstance(own, Searched) else QtOpt()
    search = rule.search if isinstance(rule.search, CEM) else PI_CEM
    rule, critics = replace(rule, search=replace(search, iterations=iterations)), agent.nets.modules["critics"]
    assert isinstance(critics, Critics)

    def act(observation: Any) -> Any:
        state = torch.as_tensor(observation, dtype=torch.float32)[None]
        return agent.spaces.to_env(rule.best(critics, agent.nets, state))[0]

    return act


def observed(agent: Agent | PolicySearch, steps: int) -> np.ndarray[Any, Any]:
    """Observations (steps, S) of the replay; or random ones, in the unit of a search's observations if it knows it."""
    observations = np.random.default_rng(0).normal(size=(steps, agent.spaces.state_size))
    if isinstance(agent, PolicySearch):
        unit = agent.standardiser
        observations = observations if unit is None else unit.mean + unit.std * observations
    elif len(agent.replay):
        seen = agent.replay.column("state").numpy()
        observations = seen[np.linspace(0, len(seen) - 1, steps).astype(int)]
    return observations.astype(np.float32)


def compared(agent: Agent | PolicySearch, files: list[Path], steps: int) -> Mapping[str, list[float]]:
    """The seconds of `steps` actions by each file alone, by the agent, and by searches over its Q-function, if any.

    If a file's actions differ from the agent's, raises a ValueError.
    """
    observations = observed(agent, steps)
    expected = np.stack([agent.act(observation, explore=False) for observation in observations])
    seconds: dict[str, list[float]] = {}
    for file in files:
        actions, times = alone(file, observations)
        reach = agent.spaces.world.half.numpy() if isinstance(agent.spaces.world, Box) else 1.0
        if not np.allclose(actions, expected, atol=1e-5 * reach):
            raise ValueError(f"{file}: expected the agent's actions, found {np.abs(actions - expected).max():.2g} off")
        seconds[f"{file.name}, alone"] = times.tolist()
    seconds["policy, in the agent"] = timed(lambda x: agent.act(x, explore=False), observations)
    for iterations in SEARCHES if isinstance(agent, Agent) and "critics" in agent.nets.modules else ():
        assert isinstance(agent, Agent)
        seconds[f"πCEM, {iterations} iterations"] = timed(searching(agent, iterations), observations)
    return seconds


def table(milliseconds: Mapping[str, float]) -> str:
    rows = [f"{name:<24}{ms:>9.3f} ms{ms:>12.2f} s" for name, ms in milliseconds.items()]
    return "\n".join([f"{'':<24}{'an action':>12}{'1000 of them':>14}", *rows])
