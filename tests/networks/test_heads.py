"""Policies' distributions against torch.distributions, quadrature and finite differences."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, distributions
from torch.distributions.transforms import TanhTransform

from elites import Box, Choices, config
from elites.networks.action_distributions import CategoricalAction, NormalAction, PointAction
from elites.networks.heads import LOG_STD, CategoricalHead, Deterministic, Head, NormalHead, head_for

BOX = Box([-1.0] * 2, [1.0] * 2)


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def double(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def normals(squashed: bool) -> NormalAction:
    return NormalAction(double(50, 2), 0.5 * double(50, 2, seed=1), squashed)


def theirs(ours: NormalAction) -> Any:
    normal = distributions.Normal(ours.mean, ours.log_std.exp())
    return distributions.TransformedDistribution(normal, TanhTransform()) if ours.squashed else normal


# --- normals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("squashed", [False, True])
def test_a_normals_sample_and_density(squashed: bool) -> None:
    """The density of samples, and of stored raw actions, equals torch's density of the action."""
    ours = normals(squashed)
    action, raw, log_density = ours.sample(rng(2))
    epsilon = torch.randn(50, 2, generator=rng(2), dtype=torch.float64)
    torch.testing.assert_close(raw, ours.mean + ours.log_std.exp() * epsilon)
    torch.testing.assert_close(action, raw.tanh() if squashed else raw)
    torch.testing.assert_close(log_density, theirs(ours).log_prob(action).sum(-1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.log_density(raw), log_density)


@pytest.mark.parametrize("squashed", [False, True])
def test_a_normals_density_integrates_to_1(squashed: bool) -> None:
    """Over actions; for raw actions r, π(a) da = π(a(r)) a'(r) dr."""
    mean, log_std = (torch.tensor([[x]], dtype=torch.float64) for x in (0.4, -0.3))
    one = NormalAction(mean, log_std, squashed)
    raw = torch.linspace(-8, 8, 20001, dtype=torch.float64).unsqueeze(1)
    slope = 1 - raw.tanh().square() if squashed else torch.ones_like(raw)
    density = one.log_density(raw).exp() * slope.squeeze(1)
    assert torch.trapezoid(density, raw.squeeze(1)).item() == pytest.approx(1, abs=1e-6)


def test_a_squashed_density_far_out() -> None:
    """At actions for which 1 - tanh² is 0 in float32."""
    raw = torch.tensor([[30.0]])
    ours = NormalAction(raw, torch.zeros(1, 1), squashed=True).log_density(raw)
    assert ours.item() == pytest.approx(-0.5 * math.log(2 * math.pi) - (2 * math.log(2) - 60), rel=1e-6)


def test_a_normals_sample_has_a_gradient() -> None:
    """For mean and spread, against central differences with the same noise."""
    mean, log_std = double(1, 2).requires_grad_(), double(1, 2, seed=1).requires_grad_()

    def value(mean: Tensor, log_std: Tensor) -> Tensor:
        action, _, log_density = NormalAction(mean, log_std, squashed=True).sample(rng(2))
        return action.square().sum() + log_density.sum()

    assert torch.autograd.gradcheck(value, (mean, log_std))
    assert torch.autograd.gradcheck(lambda m, s: NormalAction(m, s).log_density(double(1, 2, seed=3)), (mean, log_std))


def test_a_normals_entropy() -> None:
    ours = normals(squashed=False)
    torch.testing.assert_close(ours.entropy(), theirs(ours).entropy().sum(-1))
    with pytest.raises(ValueError, match="entropy: expected a normal without a tanh"):
        normals(squashed=True).entropy()


@pytest.mark.parametrize("squashed", [False, True])
def test_a_normals_divergence(squashed: bool) -> None:
    """For each dimension. For squashed normals, by quadrature over raw actions, because both have the same tanh."""
    ours = normals(squashed)
    other = replace(ours, mean=ours.mean + 0.3, log_std=ours.log_std - 0.2)
    plain = [theirs(replace(x, squashed=False)) for x in (ours, other)]
    expected = distributions.kl_divergence(*plain)
    torch.testing.assert_close(ours.divergence(other), expected)
    assert ours.divergence(ours).abs().max() < 1e-12
    first = [NormalAction(x.mean[:1, :1], x.log_std[:1, :1], squashed) for x in (ours, other)]
    raw = torch.linspace(-12, 12, 40001, dtype=torch.float64).unsqueeze(1)
    slope = 1 - raw.tanh().square() if squashed else torch.ones_like(raw)
    mine, others = (x.log_density(raw) for x in first)
    integral = torch.trapezoid(mine.exp() * slope.squeeze(1) * (mine - others), raw.squeeze(1))
    assert integral.item() == pytest.approx(expected[0, 0].item(), rel=1e-5)


def test_a_normals_mode() -> None:
    ours = normals(squashed=True)
    torch.testing.assert_close(ours.mode(), ours.mean.tanh())
    assert normals(squashed=False).mode().equal(ours.mean)


# --- choices ----------------------------------------------------------------------------------------------------------

SIZES = (3, 1, 4)


def logits(seed: int = 0) -> Tensor:
    return double(5, 8, seed=seed)


def questions(x: Tensor) -> list[Any]:
    return [distributions.OneHotCategorical(logits=block) for block in torch.split(x, SIZES, -1)]


def test_a_categorical_is_independent_answers() -> None:
    ours, others = CategoricalAction(logits(), SIZES), CategoricalAction(logits(1), SIZES)
    action, raw, log_density = ours.sample(rng())
    assert action is raw
    blocks = torch.split(action, SIZES, -1)
    assert all((block.sum(-1) == 1).all() and ((block == 0) | (block == 1)).all() for block in blocks)
    each = [question.log_prob(block) for question, block in zip(questions(logits()), blocks, strict=True)]
    torch.testing.assert_close(log_density, torch.stack(each).sum(0))
    torch.testing.assert_close(ours.log_density(raw), log_density)
    torch.testing.assert_close(ours.entropy(), torch.stack([q.entropy() for q in questions(logits())]).sum(0))
    pairs = zip(questions(logits()), questions(logits(1)), strict=True)
    divergences = torch.stack([distributions.kl_divergence(mine, theirs) for mine, theirs in pairs], -1)
    torch.testing.assert_close(ours.divergence(others), divergences)
    modes = [functional_one_hot(block) for block in torch.split(logits(), SIZES, -1)]
    assert torch.equal(ours.mode(), torch.cat(modes, -1))


def functional_one_hot(block: Tensor) -> Tensor:
    return (block == block.amax(-1, keepdim=True)).to(block.dtype)


def test_a_categorical_draws_by_its_shares() -> None:
    """40,000 draws: within five standard errors."""
    one = logits()[:1]
    drawn = CategoricalAction(one.expand(40000, -1), SIZES).sample(rng(3)).action.mean(0)
    shares = torch.cat([block.softmax(-1) for block in torch.split(one[0], SIZES)])
    assert ((drawn - shares).abs() < 5 * (shares * (1 - shares) / 40000).sqrt() + 1e-12).all()


def test_a_categoricals_density_has_a_gradient() -> None:
    x, raw = logits().requires_grad_(), CategoricalAction(logits(), SIZES).sample(rng()).raw
    assert torch.autograd.gradcheck(lambda x: CategoricalAction(x, SIZES).log_density(raw), x)
    assert torch.autograd.gradcheck(lambda x: CategoricalAction(x, SIZES).entropy(), x)
    other = CategoricalAction(logits(1), SIZES)
    assert torch.autograd.gradcheck(lambda x: other.divergence(CategoricalAction(x, SIZES)), x)


# --- heads ------------------------------------------------------------------------------------------------------------


def made(head: Head, seed: int = 0) -> tuple[Any, Tensor, Tensor | None]:
    """A distribution of random outputs, the outputs, and the free parameters."""
    outputs, free = double(50, head.outputs(BOX), seed=seed), head.parameters(BOX)
    parameters = double(free, seed=seed + 1) if free else None
    return head(outputs, parameters), outputs, parameters


def test_a_deterministic_head() -> None:
    found, outputs, _ = made(Deterministic())
    assert outputs.shape == (50, 2)
    assert torch.equal(found.mode(), outputs.tanh())
    asked: list[Any] = [
        lambda: found.sample(rng()),
        lambda: found.log_density(outputs),
        found.entropy,
        lambda: found.divergence(PointAction(outputs)),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match="head: expected a normal or categorical one, which has a density"):
            ask()


@pytest.mark.parametrize("bound", ["sample", "mean", "none"])
@pytest.mark.parametrize("spread", ["state", "free", "fixed"])
@pytest.mark.parametrize("form", ["exp", "softplus"])
def test_a_normal_head(bound: Any, spread: Any, form: Any) -> None:
    head = NormalHead(bound, spread, std=0.4, form=form)
    found, outputs, parameters = made(head)
    assert outputs.shape == (50, 4 if spread == "state" else 2)
    mean = outputs[:, :2]
    assert torch.equal(found.mean, mean.tanh() if bound == "mean" else mean)
    assert found.squashed == (bound == "sample")
    assert head.bounded == found.squashed
    raw = outputs[:, 2:] if spread == "state" else parameters
    if spread == "fixed":
        expected = torch.full_like(mean, 0.4)
    else:
        assert raw is not None
        expected = 0.4 * raw.exp() if form == "exp" else 0.4 * (1 + raw.exp()).log() / math.log(2) + 1e-6
    torch.testing.assert_close(found.log_std.exp(), expected.expand(50, 2), rtol=1e-9, atol=1e-9)
    zero = head(torch.zeros_like(outputs), None if parameters is None else torch.zeros_like(parameters))
    torch.testing.assert_close(zero.log_std.exp(), torch.full_like(mean, 0.4), rtol=1e-5, atol=0)


def test_the_limits_of_a_spread() -> None:
    """ln σ in [-20, 2], as in SAC."""
    outputs = torch.tensor([[0.0, 0.0, -50.0, 50.0]])
    assert NormalHead()(outputs, None).log_std.tolist() == [list(LOG_STD)] == [[-20, 2]]
    assert NormalHead(std=0.1)(outputs, None).log_std.tolist() == [[-20, 2]]


def test_heads_by_space() -> None:
    choices = Choices((3, 2), single=False)
    assert head_for(BOX) == Deterministic()
    assert head_for(choices) == CategoricalHead((3, 2))
    assert head_for(choices).outputs(choices) == 5
    assert config.build(NormalHead, {"bound": "mean", "spread": "free"}) == NormalHead("mean", "free")
    with pytest.raises(ValueError, match=r"NormalHead\.std: expected a number above 0, got 0"):
        NormalHead(std=0)
