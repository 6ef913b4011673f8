"""Q-functions, policies and the search over a Q-function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, tensor
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from elites import Box
from elites.agents.algorithms.searched import PI_CEM
from elites.networks import library
from elites.networks.architecture import Architecture
from elites.networks.climbing import climb
from elites.networks.critics import Critics
from elites.networks.heads import NormalHead
from elites.networks.native import Native
from elites.networks.policies import Policy
from elites.spaces import Choices

UNIT = Box([-1.0], [1.0])


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@torch.no_grad()
def always(policy: Any, *outputs: float) -> None:
    """The last layer gives these values in every state."""
    policy.mlp.weights[-1].zero_()
    policy.mlp.biases[-1].copy_(tensor(outputs))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("states", [1, 5, 70])  # the torch engine takes a few states at a time
def test_an_objective_of_actions_is_the_q_function(
    compiled: bool, states: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also its gradient, for planners that climb."""
    if not compiled:
        monkeypatch.setattr(Native, "serves", lambda *_: False)
    critics = Critics(3, 2, 2, Architecture((16, 16)), rng())
    state, actions = torch.randn(states, 3, generator=rng(1)), torch.randn(states, 20, 2, generator=rng(2))
    for member in (0, 1):
        ours, plain = actions.clone().requires_grad_(), actions.clone().requires_grad_()
        found = critics.at(state, member=member)(ours)
        expected = critics.values(state.repeat_interleave(20, 0), plain.flatten(0, 1))[member].reshape(states, 20)
        torch.testing.assert_close(found, expected)
        slopes = [torch.autograd.grad(values.sum(), x)[0] for values, x in ((found, ours), (expected, plain))]
        torch.testing.assert_close(*slopes)


@pytest.mark.parametrize(
    ("precision", "known_by", "lost"),
    [
        ("bfloat16x3", {"amx"}, 1e-4),
        ("float16", {"amx", "avx512_fp16"}, 0.01),
        ("bfloat16", {"amx", "avx512_fp16", "avx512_bf16"}, 0.02),
    ],
)
def test_an_objective_in_other_numbers_ranks_as_float32_does(precision: Any, known_by: set[str], lost: float) -> None:
    """Also for large values such as returns. The loss is a small share of the differences between candidates in the
    box, and of the gain of a search, whose later candidates are close to each other.
    """
    critics = Critics(17, 6, 2, Architecture((256, 256)), rng())
    with torch.no_grad():
        critics.mlp.weights[-1].mul_(300)
        critics.mlp.biases[-1].fill_(500)
    state, actions = torch.randn(50, 17, generator=rng(1)), 2 * torch.rand(50, 64, 6, generator=rng(2)) - 1
    exact, rough = critics.at(state)(actions), critics.at(state, precision)(actions)
    assert torch.equal(exact, rough) == known_by.isdisjoint(library.kernels()[:1])
    assert (rough - exact).std() < lost * exact.std(1).mean()
    found, best = exact.gather(1, rough.argmax(1, keepdim=True)).squeeze(1), exact.amax(1)
    assert ((best - found) / (best - exact.mean(1))).max() < 0.01
    cube, answers = Box([-1.0] * 6, [1.0] * 6), []
    for numbers in ("float32", precision):
        plan = PI_CEM.plan(critics.at(state, numbers), cube, batch=(50,), rng=rng(3))
        answers.append(critics.at(state)(plan.best.unsqueeze(1)).squeeze(1))
    gain = answers[0] - exact.mean(1)
    assert ((answers[0] - answers[1]).mean() / gain.mean()).abs() < 0.005


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_an_objective_too_large_for_float16_is_one_in_float32(layer: int) -> None:
    critics = Critics(17, 6, 2, Architecture((256, 256)), rng())
    state, actions = torch.randn(50, 17, generator=rng(1)), 2 * torch.rand(50, 64, 6, generator=rng(2)) - 1
    with torch.no_grad():
        critics.mlp.weights[layer].mul_(1e7)
    assert torch.equal(critics.at(state, "float16")(actions), critics.at(state)(actions))


def test_critics_by_hand() -> None:
    """Each member alone, layer by layer."""
    critics = Critics(3, 2, 2, Architecture((4, 5)), rng())
    state, action = torch.randn(6, 3, generator=rng(1)), torch.randn(6, 2, generator=rng(2))
    for member in (0, 1):
        x = torch.cat([state, action], 1)
        for weight, bias, _ in critics.mlp.layers()[:-1]:
            x = (x @ weight[member] + bias[member]).relu()
        x = x @ critics.mlp.weights[-1][member] + critics.mlp.biases[-1][member]
        torch.testing.assert_close(critics.values(state, action)[member], x.squeeze(1))


def test_a_policy_stays_in_its_box() -> None:
    """Even if centre + half width differs from the bound in float32."""
    low = torch.randn(500, generator=rng(2))
    high = low + torch.rand(500, generator=rng(3))
    box = Box(low, high)
    assert (box.centre + box.half > high).any()
    policy = Policy(3, box, Architecture((8, 8)), rng())
    for far, bound in ((-100.0, low), (100.0, high)):
        always(policy, *[far] * 500)
        found = policy(torch.randn(1, 3, generator=rng(1)))[0]
        torch.testing.assert_close(found, bound)
        assert ((found >= low) & (found <= high)).all()


def test_a_policy_of_choices_climbs_its_expected_value() -> None:
    """Σ_a π(a | s) Q(s, a), whose slope by a logit is π(a) (Q(s, a) - Σ π Q)."""
    policy, critics = Policy(2, Choices((3,)), Architecture((8,)), rng()), Critics(2, 3, 2, Architecture((8,)), rng(1))
    always(policy, 0.0, 1.0, -1.0)
    state = torch.randn(4, 2, generator=rng(2))
    shares = tensor([0.0, 1.0, -1.0]).softmax(0)
    values = torch.stack([critics.value(state, answer.expand(4, -1)) for answer in torch.eye(3)], 1).detach()
    expected = values @ shares
    loss = climb(policy, critics, state)
    torch.testing.assert_close(loss, -expected.mean())
    loss.backward()
    slope = -(shares * (values - expected.unsqueeze(1))).mean(0)
    torch.testing.assert_close(policy.mlp.biases[-1].grad.flatten(), slope)
    assert all(weight.grad is None for weight in critics.parameters())


def test_pi_cem_finds_the_maximum_of_a_known_q_in_a_batch() -> None:
    """Against a grid over the action, for networks with many optima; with the paper's two iterations, and with six."""
    critics = Critics(2, 1, 1, Architecture((64, 64)), rng())
    with torch.no_grad():
        critics.mlp.weights[0].mul_(8)
        state, grid = torch.randn(100, 2, generator=rng(1)), torch.linspace(-1, 1, 2001).reshape(1, -1, 1)
        values = critics.at(state)(grid.expand(100, -1, -1))
    top, spread = values.amax(1), values.amax(1) - values.amin(1)
    for search, lost in ((PI_CEM, 0.02), (replace(PI_CEM, iterations=6), 0.01)):
        plan = search.plan(critics.at(state), UNIT, batch=(100,), rng=rng(3))
        assert ((top - plan.value) / spread).mean() < lost


def test_the_squashed_normals_density() -> None:
    """Against torch.distributions, for any box."""
    policy = Policy(3, Box([-2.0, 0.0], [4.0, 1.0]), Architecture((8, 8)), rng(), NormalHead())
    state = torch.randn(50, 3, generator=rng(1))
    action, density = policy.sample(state, rng(2))
    mean, log_std = policy.mlp.alone(state).chunk(2, -1)
    squashed = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform())
    torch.testing.assert_close(density, squashed.log_prob(action).sum(-1), rtol=1e-3, atol=1e-3)
