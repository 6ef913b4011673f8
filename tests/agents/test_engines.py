"""Updates through the kernel: they equal torch's, and the agent names the engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from elites import Box
from elites.agents import AGENTS, DQN, Agent, Transition
from elites.agents.algorithms.networked import Networked
from elites.agents.algorithms.sac import Temperature
from elites.networks import Architecture, library
from elites.networks.learning import gradients_of

pytestmark = pytest.mark.skipif(not library.kernels(), reason="the kernel was not built")
SHAPES = {
    "relu": Architecture((64, 64)),
    "elu": Architecture((48, 33), "elu", "first"),
    "tanh": Architecture((32,), "tanh", "all"),
}


# less work in an update, so that rounding does not grow
LESS: dict[str, dict[str, int]] = {"ppo": {"epochs": 1}, "vmpo": {"epochs": 1}, "trpo": {"value_epochs": 1}}
LESS |= {
    "reps": {"epochs": 1, "dual_steps": 5},
    "awr": {"value_steps": 20, "policy_steps": 20},
    "rwr": {"policy_steps": 20},
}


def learner(name: str, architecture: Architecture, batch: int = 32) -> Agent:
    """An agent with 200 transitions of noise."""
    algorithm: Any = AGENTS[name]()
    network = replace(algorithm.network, policy=architecture, value=architecture)
    algorithm = replace(algorithm, network=network, batch=batch, **LESS.get(name, {}))
    if hasattr(algorithm, "sampling"):
        algorithm = replace(algorithm, sampling="float32")
    choice = isinstance(algorithm, DQN)
    space: Any = Discrete(2) if choice else Box([-1.0] * 2, [1.0] * 2)
    agent, noise = Agent(algorithm, 5, space, seed=0), np.random.default_rng(0)
    for _ in range(200):
        state, following = noise.normal(size=(2, 5))
        end = noise.uniform() < 0.1
        action = np.array(noise.integers(2)) if choice else noise.uniform(-1, 1, 2)
        agent.observe(Transition.one(state, action, noise.normal(), following, end, False))
    return agent


def weights(agent: Agent) -> list[torch.Tensor]:
    return [
        x for modules in (agent.nets.modules, agent.nets.copies) for of in modules.values() for x in of.parameters()
    ]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", [name for name in sorted(AGENTS) if issubclass(AGENTS[name], Networked)])
def test_one_update_is_torchs_to_rounding(monkeypatch: Any, name: str, shape: str) -> None:
    """Adam's first steps are as large as the rate for every gradient, so the sign can differ for gradients near 0."""
    mine, theirs = (learner(name, SHAPES[shape]) for _ in range(2))
    times = 1 if mine.algorithm.on_policy else 2
    for _ in range(times):
        mine.update()
    monkeypatch.setattr(library, "LIBRARY", None)
    theirs.replay = learner(name, SHAPES[shape]).replay
    for _ in range(times):
        theirs.update()
    assert (mine.engine, theirs.engine) == ("kernel", "torch")
    assert mine.summary() == {"engine": "kernel"}
    for found, expected in zip(weights(mine), weights(theirs), strict=True):
        near = torch.isclose(found, expected, rtol=1e-4, atol=2e-5)
        assert near.float().mean() > 0.995
    assert mine.figures() == pytest.approx(theirs.figures(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("batch", [1, 32, 1024])
def test_any_batch(batch: int) -> None:
    agent = learner("td3", SHAPES["relu"], batch)
    for _ in range(4):
        agent.update()
    assert agent.engine == "kernel"
    assert agent.non_finite() is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_temperature_by_hand(dtype: torch.dtype) -> None:
    """-ln α · mean(ln π + target) and its slope, in the temperature's numbers."""
    temperature = Temperature(torch.device("cpu")).to(dtype)
    with torch.no_grad():
        temperature.log.fill_(0.5)
    loss = temperature.loss(torch.tensor([1.0, 4.0], dtype=dtype), -6.0)
    (slope,) = gradients_of(loss, [temperature.log])
    assert slope is not None
    assert loss.dtype == slope.dtype == temperature.value.dtype == dtype
    torch.testing.assert_close(torch.stack([loss, slope]), torch.tensor([0.5 * 3.5, 3.5], dtype=dtype))
    torch.testing.assert_close(temperature.value, torch.tensor(0.5, dtype=dtype).exp())
