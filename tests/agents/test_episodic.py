"""REPS, UREX and PoWER, which learn from whole episodes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import tensor

from elites.agents import REPS, UREX, PoWER
from tests.agents.small import TINY, filled, rng


def test_the_dual_of_reps() -> None:
    """Its slopes are those of finite differences. At its minimum, the weights have KL ε from the data."""
    reps, agent = REPS(network=TINY, features=7, epsilon=0.3), filled(REPS(network=TINY, features=7, epsilon=0.3))
    change, reward = torch.randn(40, 8, generator=rng()).double(), torch.randn(40, generator=rng(1)).double()
    start = 0.1 * torch.randn(8, generator=rng(2)).double()
    at = (torch.randn(8, generator=rng(3)).double().requires_grad_(), torch.zeros(1).double().requires_grad_())
    assert torch.autograd.gradcheck(lambda theta, eta: reps.dual(theta, eta, change, reward, start), at)
    nets: Any = agent.nets.modules["value"].double()
    found = reps.solved(cast(Any, SimpleNamespace(value=nets)), change, reward, start)
    theta, temperature = found[:-1], found[-1].exp()
    w = torch.softmax((reward + change @ theta) / temperature, 0)
    assert (w * (40 * w).log()).sum().item() == pytest.approx(0.3, abs=1e-3)


def test_urex_favours_what_pays_more_than_it_is_likely() -> None:
    """Weights e^(R/τ - ln π) / Σ: of two episodes with one return, the less likely one has the larger weight."""
    share = UREX(temperature=0.5).shares(tensor([1.0, 1.0, 0.0]), tensor([-1.0, -3.0, -1.0]))
    expected = np.exp([2 + 1, 2 + 3, 0 + 1])
    np.testing.assert_allclose(share, expected / expected.sum(), rtol=1e-6)


def test_power_is_a_weighted_regression() -> None:
    """With one feature: θ = Σ Q a / Σ Q, over the episodes that it holds, and σ² is the weighted spread about it."""
    power = PoWER(centres=1, ridge=1e-9, least_std=1e-3, reward_scale=1.0, discount=0.5)
    agent = filled(power, rows=20)
    agent.update()
    positive = agent.replay.column("reward").exp().tolist()
    utility = [0.0] * 20
    for t in reversed(range(20)):
        utility[t] = positive[t] + (0.5 * utility[t + 1] if t % 10 < 9 else 0)
    q, raw = np.array(utility), agent.replay.column("raw_action")[:, 0].numpy()
    nets: Any = agent.nets
    mean = (q * raw).sum() / q.sum()
    assert nets.policy.theta.item() == pytest.approx(mean, rel=1e-4)
    assert nets.policy.std.item() == pytest.approx(math.sqrt((q * (raw - mean) ** 2).sum() / q.sum()), rel=1e-3)


def test_power_knows_its_states() -> None:
    with pytest.raises(ValueError, match=r"agent.scale: expected 2 numbers, one a state entry, got \(1.0,\)"):
        filled(PoWER(scale=(1.0,)))
    with pytest.raises(ValueError, match=r"agent.centres: expected fewer, as 1000 are a grid of too many features"):
        filled(PoWER(centres=1000))
