"""DSPG's gradient and SAC's, on a quadratic bandit."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, tensor

from elites.agents import DSPG, SAC
from elites.networks import Architecture, NormalHead, Policy
from elites.networks.action_distributions import NormalAction
from elites.networks.climbing import soft_climb
from tests.agents.small import TINY, UNIT, Quadratic, filled, losses, rng


def bandit(mean: float, log_std: float, bound: Any = "none") -> Policy:
    """A policy with this mean and spread everywhere."""
    policy = Policy(1, UNIT, Architecture((1,)), rng(), NormalHead(bound, "state"))
    for parameter in policy.parameters():
        parameter.data.zero_()
    policy.mlp.biases[-1].data[:] = tensor([mean, log_std])
    return policy


def slopes(policy: Policy, loss: Tensor) -> list[float]:
    """Its rates by the mean and by the spread."""
    rate = torch.autograd.grad(loss, policy.mlp.biases[-1])[0]
    return [rate[0].item(), rate[1].item() / policy.mlp.biases[-1][1].exp().item()]


MEAN, SPREAD, K, C, ALPHA = 0.3, 0.5, 2.0, 0.7, 0.8
EXPECTED = [K * (MEAN - C), K * SPREAD - ALPHA / SPREAD]  # of the loss: minus those of E[Q - α ln π]


def test_sacs_gradient_on_a_quadratic_bandit() -> None:
    policy, critics = bandit(MEAN, math.log(SPREAD)), Quadratic(K, C)
    loss, _ = soft_climb(policy, cast(Any, critics), torch.zeros(400_000, 1), tensor(ALPHA), rng())
    assert slopes(policy, loss) == pytest.approx(EXPECTED, abs=0.01)
    at_rest = bandit(C, 0.5 * math.log(ALPHA / K))
    loss, _ = soft_climb(at_rest, cast(Any, critics), torch.zeros(400_000, 1), tensor(ALPHA), rng())
    assert slopes(at_rest, loss) == pytest.approx([0, 0], abs=0.01)


def test_dspgs_expected_gradient_is_sacs() -> None:
    """The score function and the reparametrisation estimate one gradient. The temperature 1 needs Q / α."""
    policy, critics = bandit(MEAN, math.log(SPREAD)), cast(Any, Quadratic(K / ALPHA, C))
    dspg = DSPG(actions=400)
    loss = dspg.policy_loss(policy, critics, torch.zeros(4000, 1), rng())
    assert [ALPHA * slope for slope in slopes(policy, loss)] == pytest.approx(EXPECTED, abs=0.02)


def test_dspgs_gradient_does_not_pass_through_the_actions() -> None:
    """With a Q that is constant and known, the loss depends on ln π alone."""

    class Marked(Quadratic):
        def values(self, state: Tensor, action: Tensor) -> Tensor:
            assert not action.requires_grad
            return super().values(state, action)

    policy = bandit(MEAN, 0.0)
    loss = DSPG(actions=8).policy_loss(policy, cast(Any, Marked(K, C)), torch.zeros(4, 1), rng())
    assert loss.requires_grad


def test_dspgs_policy_gradient_is_clipped() -> None:
    for clip, bounded in ((1e-3, True), (1e6, False)):
        agent = filled(DSPG(network=TINY, actions=4, batch=32, clip=clip))
        loss = losses(agent)["policy"]
        agent.nets.descend("policy", loss)
        rates = [parameter.grad for parameter in agent.nets.modules["policy"].parameters()]
        norm = torch.cat([rate.flatten() for rate in rates if rate is not None]).norm()
        assert (norm.item() == pytest.approx(clip, rel=1e-3)) == bounded


def test_dspgs_targets_vary_as_one_over_m_and_follow_the_slow_policy() -> None:
    def spread(actions: int) -> float:
        dspg = DSPG(actions=actions)
        _, density, values = dspg.drawn(bandit(MEAN, 0.0), cast(Any, Quadratic(K, C)), torch.zeros(4000, 1), rng())
        return (values - density).mean(-1).var().item()

    assert spread(4) / spread(64) == pytest.approx(16, rel=0.15)
    agent = filled(DSPG(network=TINY, actions=4, batch=32))
    nets: Any = agent.nets
    chance, wide = agent.rng.get_state(), losses(agent)["critics"]
    nets.slow.policy.mlp.biases[-1].data[1] -= 100.0  # a spread of almost 0, so -ln π is almost -∞
    agent.rng.set_state(chance)
    assert losses(agent)["critics"] > 2 * wide, "the targets' actions are the slow policy's"


def test_sacs_entropy_target_without_a_tanh() -> None:
    """Entropy -1 in one dimension is σ = 0.08902."""
    of = NormalAction(torch.zeros(1, 1), torch.full((1, 1), math.log(0.08902)))
    assert of.entropy().item() == pytest.approx(-1, abs=1e-3)
    agent = filled(SAC(network=TINY, head=NormalHead("none"), batch=16))
    assert "raw_action" in agent.replay.schema
    assert losses(agent).keys() == {"critics", "policy", "temperature"}
