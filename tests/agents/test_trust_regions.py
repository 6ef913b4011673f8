"""PPO and TRPO."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, tensor

from elites.agents import PPO, TRPO
from elites.agents.algorithms.on_policy import standardised
from elites.agents.algorithms.trpo import conjugate_gradient, flat
from tests.agents.small import TINY, filled, rng


def test_ppos_clipped_loss_by_hand() -> None:
    """The gain of a ratio outside 1 ± 0.2 counts only if it is a loss."""
    advantage, ratio = tensor([1.0, 1.0, -1.0, -1.0]), tensor([1.5, 0.5, 1.5, 0.5])
    assert PPO().clipped(advantage, ratio).item() == pytest.approx(-(1.2 + 0.5 - 1.5 - 0.8) / 4)


def test_ppos_penalty_adapts() -> None:
    ppo, beta = PPO(near="kl"), tensor([1.0])
    found = [ppo.adapted(beta, tensor(kl)).item() for kl in (0.006, 0.01, 0.016)]
    assert found == [0.5, 1.0, 2.0]


def test_conjugate_gradients_solve() -> None:
    root = torch.randn(20, 20, generator=rng()).double()
    matrix, b = root @ root.T + torch.eye(20), torch.randn(20, generator=rng(1)).double()
    torch.testing.assert_close(conjugate_gradient(lambda v: matrix @ v, b, 40, 0.0), torch.linalg.solve(matrix, b))


def test_trpos_step_is_inside_its_trust_region() -> None:
    """Its Fisher matrix is the Hessian of the KL divergence, and a step of the full length has a divergence near δ."""
    trpo = TRPO(network=TINY, damping=0.0)
    agent = filled(trpo, size=2, rows=200)
    nets: Any = agent.nets
    segment = trpo.segment(nets, agent.replay)
    segment = segment._replace(advantage=standardised(segment.advantage))
    with torch.no_grad():
        old = nets.policy.distribution(segment.state)
    product = trpo.fisher(old, nets.policy.distribution(segment.state), list(nets.policy.parameters()))
    start = nets.vector("policy")
    vector = torch.randn(start.shape, generator=rng())

    def slope(step: float) -> Tensor:
        nets.set("policy", start + step * vector)
        kl = old.divergence(nets.policy.distribution(segment.state)).sum(-1).mean()
        found = flat(torch.autograd.grad(kl, list(nets.policy.parameters())))
        nets.set("policy", start)
        return found

    torch.testing.assert_close(product(vector), (slope(1e-2) - slope(-1e-2)) / 2e-2, rtol=0.02, atol=1e-3)
    trpo.improve(nets, segment)
    with torch.no_grad():
        new = nets.policy.distribution(segment.state)
        assert 0.3 * trpo.kl < old.divergence(new).sum(-1).mean() < trpo.kl
        ratio = (new.log_density(segment.raw) - old.log_density(segment.raw)).exp()
        assert (ratio * segment.advantage).mean() > 0


def test_trpo_stays_where_no_step_is_better() -> None:
    trpo = TRPO(network=TINY)
    agent = filled(trpo)
    nets: Any = agent.nets
    segment = trpo.segment(nets, agent.replay)
    before = nets.vector("policy")
    trpo.improve(nets, segment._replace(advantage=torch.zeros_like(segment.advantage)))
    assert torch.equal(nets.vector("policy"), before)
