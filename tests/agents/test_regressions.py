"""AWR, RWR and AWAC: regression on stored actions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import tensor

from elites.agents import AWAC, AWR, RWR, Agent, Network, Transition
from elites.agents.algorithms.stochastic import violation
from elites.agents.replay import Rows
from elites.networks import Architecture, NormalHead, Policy
from elites.networks.action_distributions import NormalAction
from tests.agents.small import TINY, UNIT, Quadratic, filled, rng


def test_awrs_weights() -> None:
    """e^(A/β) of the standardised advantage, at most 20."""
    advantage = torch.randn(1000, generator=rng()) * 7 + 3
    weight = AWR().weights(advantage)
    normal = (advantage - advantage.mean()) / advantage.std(correction=0)
    torch.testing.assert_close(weight, normal.exp().clamp(max=20), rtol=1e-4, atol=1e-4)
    assert AWR(temperature=0.1).weights(advantage).max() == 20


def test_the_penalty_of_a_mean_outside() -> None:
    """μ = 1.5 costs ½ 0.25."""
    of = NormalAction(tensor([[1.5], [-0.5]]), torch.zeros(2, 1))
    assert violation(of).tolist() == [0.125, 0]


def test_awr_learns_the_returns_and_ignores_what_has_not_ended() -> None:
    """V is exact after many steps: every episode is ten steps of reward 1, and ends."""
    network = Network.of(Architecture((32,), "tanh"))
    agent = Agent(AWR(network=network, value_steps=5000, policy_steps=1, trace=1.0), 1, UNIT, 0)
    for step in range(205):
        agent.observe(Transition.one(np.array([step % 10 / 10]), np.zeros(1), 1.0, np.zeros(1), step % 10 == 9, False))
    agent.update()
    value = agent.algorithm.values(agent.nets, tensor([[0.0], [0.9]]))  # type: ignore[attr-defined]
    expected = [sum(0.99**i for i in range(10)), 1.0]
    assert value.tolist() == pytest.approx(expected, rel=0.03)


def test_awr_needs_episodes_that_end() -> None:
    agent = Agent(AWR(network=TINY, capacity=20), 1, UNIT, 0)
    for _ in range(19):
        agent.observe(Transition.one(np.zeros(1), np.zeros(1), 1.0, np.zeros(1), False, False))
    agent.update()  # there is room for its end
    agent.observe(Transition.one(np.zeros(1), np.zeros(1), 1.0, np.zeros(1), False, False))
    with pytest.raises(ValueError, match=r"expected episodes that end within its 20 transitions, got none; set"):
        agent.update()


def test_rwrs_sharpness_is_the_em_step() -> None:
    """β = Σ u / Σ u c for u = e^(-β c)."""
    agent = filled(RWR(network=TINY, policy_steps=1))
    nets: Any = agent.nets
    agent.update()
    first = nets.sharpness.beta.item()
    agent.update()
    assert nets.sharpness.beta.item() > first > 0, "the weights concentrate"


def test_awacs_fixed_point_for_uniform_behaviour() -> None:
    """Behaviour U[-1, 1], Q = -½ k (a - 0.5)² and λ / k = 0.25 weigh to a truncated normal: 0.3586 and 0.1540."""
    action = torch.linspace(-1, 1, 20_001).unsqueeze(1)
    policy = Policy(1, UNIT, Architecture((1,)), rng(), NormalHead("mean", "free"))
    nets: Any = SimpleNamespace(policy=policy, critics=Quadratic(4.0, 0.5), rng=rng())
    rows: Any = Rows({"state": torch.zeros(20_001, 1), "action": action, "raw_action": action})
    policy.free.data.fill_(-20.0)  # type: ignore[union-attr]  # the same ã everywhere
    weight = AWAC(temperature=1.0, largest=1e9).weights(nets, rows)
    assert weight.mean().item() == pytest.approx(1, abs=1e-4)
    mean = (weight * action[:, 0]).mean()
    assert mean.item() == pytest.approx(0.3586, abs=2e-4)
    assert (weight * (action[:, 0] - mean).square()).mean().item() == pytest.approx(0.1540, abs=2e-4)
    torch.testing.assert_close(AWAC(temperature=1e6).weights(nets, rows), torch.ones(20_001), rtol=1e-4, atol=1e-4)
    assert AWAC(temperature=1e-3, largest=20.0).weights(nets, rows).max() == 20
