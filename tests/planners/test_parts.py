"""Distributions, noises and weightings against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from elites import Box
from elites.planners import (
    ClippedNormal,
    Coloured,
    Distribution,
    Draw,
    Refit,
    Smoothed,
    Softmax,
    SplineKnots,
    TanhNormal,
    TopK,
    TruncatedNormal,
    Uniform,
    Weighting,
    White,
    only_the_best,
)
from elites.planners.distributions.normals import Normal

MANY = 20_000


def draw(low: Tensor, high: Tensor, batch: tuple[int, ...] = ()) -> Draw:
    return Draw(Box(low, high), batch, Generator().manual_seed(0))


def wide(*shape: int) -> Draw:
    return draw(torch.full(shape, -100.0), torch.full(shape, 100.0))


def drawn(distribution: Distribution, source: Draw, mean: Tensor, std: Tensor, count: int) -> Tensor:
    """Points of a normal with this mean and spread in own coordinates."""
    own = distribution.sample(Normal(mean, std), source.space, count, source)
    return distribution.points(own, source.space)


def density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def cumulative(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def moments(low: float, high: float) -> tuple[float, float]:
    """Mean and variance of a standard normal truncated to [low, high]."""
    mass = cumulative(high) - cumulative(low)
    mean = (density(low) - density(high)) / mass
    return mean, 1 + (low * density(low) - high * density(high)) / mass - mean**2


# --- distributions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [(0.0, 0.3, -2, 2), (0.5, 0.5, -2, 1), (1.0, 0.5, -2, 0), (-1.0, 0.25, 0, 2)],  # low, high in spreads of the mean
)
def test_truncated_normal_moments(mean: float, std: float, low: float, high: float) -> None:
    """Cut at two spreads and at the box [-1, 1]. On a bound, half a normal is left."""
    case = draw(torch.tensor([-1.0]), torch.tensor([1.0]))
    x = drawn(TruncatedNormal(), case, torch.tensor([mean]), torch.tensor([std]), MANY)
    expected_mean, expected_variance = moments(low, high)
    assert x.mean().item() == pytest.approx(mean + std * expected_mean, abs=4 * std / math.sqrt(MANY))
    assert x.var().item() == pytest.approx(std**2 * expected_variance, rel=0.05)


def test_truncated_normal_cut() -> None:
    x = drawn(TruncatedNormal(cut=1.5), wide(1), torch.zeros(1), torch.ones(1), MANY)
    assert 1.45 < x.max() <= 1.5 + 1e-6


@pytest.mark.parametrize("distribution", [TruncatedNormal(), ClippedNormal(), TanhNormal(), SplineKnots()])
def test_no_spread_is_no_accident(distribution: Distribution) -> None:
    """With std 0, every candidate is the mean and finite."""
    mean = torch.tensor([[0.5, 0.9]] * 3)
    source = draw(-torch.ones(3, 2), torch.ones(3, 2))
    x = drawn(distribution, source, distribution.own(mean, source.space), torch.zeros(3, 2), 5)
    assert torch.allclose(x, mean.expand(5, 3, 2))


def test_clipped_normal_puts_the_tail_on_the_bound() -> None:
    x = drawn(ClippedNormal(), draw(-torch.ones(1), torch.ones(1)), torch.zeros(1), torch.ones(1), MANY)
    assert (x == 1).float().mean().item() == pytest.approx(1 - cumulative(1), abs=0.01)


def test_tanh_normal_is_cgps_on_the_unit_box() -> None:
    tanh, box = TanhNormal(), Box(-torch.ones(2), torch.ones(2))
    u = torch.tensor([[0.3, -1.2]])
    assert torch.allclose(tanh.points(u, box), torch.tanh(u))
    assert torch.allclose(tanh.own(tanh.points(u, box), box), u)


def test_tanh_normal_on_any_box() -> None:
    tanh, box = TanhNormal(), Box(torch.tensor([0.0, -3.0, 2.0]), torch.tensor([2.0, -1.0, 2.0]))
    x = torch.tensor([[0.0, -1.0, 2.0], [0.5, -2.0, 2.0]])
    u = tanh.own(x, box)
    assert u.isfinite().all()
    assert torch.allclose(tanh.points(u, box), x, atol=0.011)  # a bound maps to 99 % of the way
    near = box.centre + torch.tensor([0.01, 0.01, 0.0])
    assert torch.allclose(tanh.own(near, box), near, atol=1e-5)  # near the centre both have the same unit
    with pytest.raises(ValueError, match="TanhNormal: expected a box with finite bounds"):
        tanh.begin(Box(torch.zeros(1), torch.full((1,), math.inf)), (), 0.5)


@pytest.mark.parametrize("order", ["zero", "linear", "cubic"])
@pytest.mark.parametrize(("knots", "horizon"), [(1, 7), (2, 7), (4, 10), (8, 8), (20, 5), (3, 1)])
def test_spline_passes_through_its_knots(order: str, knots: int, horizon: int) -> None:
    spline = SplineKnots(knots, order)  # type: ignore[arg-type]
    at = torch.linspace(0, horizon - 1, min(knots, horizon)).round().long()
    matrix = spline.matrix(at, horizon)
    assert matrix.shape == (horizon, len(at))
    assert torch.equal(matrix[at], torch.eye(len(at)))
    assert torch.allclose(matrix.sum(1), torch.ones(horizon), atol=1e-6)  # a constant stays constant
    if order != "zero" and len(at) > 1:
        line = at.float() * 0.5 + 1
        assert torch.allclose(matrix @ line, torch.arange(horizon) * 0.5 + 1, atol=1e-5)  # and a line stays a line
    x = drawn(spline, wide(horizon, 2), torch.full((len(at), 2), 3.0), torch.ones(len(at), 2), 4)
    assert x.shape == (4, horizon, 2)
    assert torch.allclose(torch.einsum("hk,nka->nha", matrix, x[:, at]), x, atol=1e-4)  # every candidate is a spline


def test_zero_order_holds() -> None:
    assert SplineKnots(2, "zero").matrix(torch.tensor([0, 4]), 6).argmax(1).tolist() == [0, 0, 0, 0, 1, 1]


def test_uniform_fills_the_box() -> None:
    case = draw(torch.tensor([1.0, -1.0]), torch.tensor([3.0, -1.0]))
    x = Uniform().sample(Uniform().begin(case.space, (), 1.0), case.space, MANY, case)
    assert x[:, 0].mean().item() == pytest.approx(2, abs=0.02)
    assert x[:, 0].var().item() == pytest.approx(4 / 12, rel=0.05)
    assert (x[:, 1] == -1).all()


# --- noise ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [White(), Coloured(0.5), Coloured(2.0), Coloured(4.0), Smoothed(0.3), Smoothed(1.0)])
@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (9, 2), (10, 1), (3,), ()])
def test_noise_is_standard_normal_at_every_entry(noise: White, shape: tuple[int, ...]) -> None:
    x = noise.draw(wide(*shape), MANY)
    assert x.shape == (MANY, *shape)
    assert torch.allclose(x.mean(0), torch.zeros(shape), atol=5 / math.sqrt(MANY))
    assert torch.allclose(x.var(0), torch.ones(shape), atol=0.06)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 3.0])
def test_coloured_noise_has_its_spectrum(beta: float) -> None:
    """Power falls as f^-beta: the slope of log power over log frequency."""
    x = Coloured(beta).draw(wide(64, 1), MANY // 4)[..., 0]
    power = torch.fft.rfft(x, dim=1).abs().square().mean(0)[1:32]
    frequency = torch.fft.rfftfreq(64)[1:32]
    log_f, log_p = frequency.log(), power.log()
    slope = ((log_f - log_f.mean()) * log_p).sum() / (log_f - log_f.mean()).square().sum()
    assert slope.item() == pytest.approx(-beta, abs=0.05)


def test_smoothed_noise_is_autoregressive() -> None:
    """Far from the start, neighbours correlate by 1 - beta, as in n_t = beta ε_t + (1 - beta) n_{t-1}."""
    x = Smoothed(0.3).draw(wide(40, 1), MANY)[..., 0]
    correlation = (x[:, -1] * x[:, -2]).mean() / (x[:, -1].std() * x[:, -2].std())
    assert correlation.item() == pytest.approx(0.7, abs=0.02)


def test_noise_is_independent_across_actions_and_problems() -> None:
    x = Coloured(2.0).draw(draw(-torch.ones(5, 2), torch.ones(5, 2), (2,)), MANY)
    assert abs((x[0, :, 2, 0] * x[1, :, 2, 0]).mean().item()) < 0.04
    assert abs((x[0, :, 2, 0] * x[0, :, 2, 1]).mean().item()) < 0.04


# --- weightings and the refit -----------------------------------------------------------------------------------------


POINTS = torch.tensor([[1.0], [3.0], [100.0], [-7.0]])
VALUES = torch.tensor([2.0, 1.0, -math.inf, 0.0])
MEAN, STD = torch.tensor([0.5]), torch.tensor([2.0])
WIDE = Box([-1000.0], [1000.0])
RULES: list[Weighting] = [TopK(2), TopK(4), Softmax(1.0, True), Softmax(1.0, False), only_the_best]


def refitted(weighting: Weighting, values: Tensor, refit: Refit, box: Box = WIDE) -> tuple[Tensor, Tensor]:
    index, weights = weighting(values)
    state = ClippedNormal().fit(Normal(MEAN, STD), POINTS[index], weights, box, refit)
    return state[0], state[1]


def test_cem_is_equation_2() -> None:
    """Two elites, 1 and 3: mean 2, variance 1 (biased). α = 0.9 of it and 0.1 of the old mean 0.5 and variance 4."""
    mean, std = refitted(TopK(2), VALUES, Refit(0.9, 0.9))
    assert mean.item() == pytest.approx(0.1 * 0.5 + 0.9 * 2)
    assert std.item() ** 2 == pytest.approx(0.1 * 4 + 0.9 * 1)


def test_the_centre_and_the_spread_move_each_at_its_rate() -> None:
    mean, std = refitted(TopK(2), VALUES, Refit(0.5, 0.25))
    assert mean.item() == pytest.approx(0.5 * 0.5 + 0.5 * 2)
    assert std.item() ** 2 == pytest.approx(0.75 * 4 + 0.25 * 1)


def test_cem_with_fewer_finite_values_than_elites() -> None:
    mean, std = refitted(TopK(4), VALUES, Refit())
    assert mean.item() == pytest.approx(-1)  # the mean of 1, 3, -7
    assert std.item() ** 2 == pytest.approx((4 + 16 + 36) / 3)


def test_cem_spread_floor_and_one_elite() -> None:
    """The floor is in half widths of the box."""
    mean, std = refitted(TopK(1), VALUES, Refit(floor=0.25), Box([-3.0], [5.0]))
    assert (mean.item(), std.item()) == (1.0, 1.0)
    assert refitted(TopK(1), VALUES, Refit())[1].item() == 0  # not NaN


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_mppi_is_a_softmax(temperature: float) -> None:
    mean, std = refitted(Softmax(temperature, standardise=False), VALUES, Refit(spread=0))
    weights = [math.exp(v / temperature) for v in (2, 1, 0)]
    assert mean.item() == pytest.approx(sum(w * x for w, x in zip(weights, (1, 3, -7), strict=True)) / sum(weights))
    assert torch.equal(std, STD)


def test_mppi_standardised_does_not_know_the_scale_of_reward() -> None:
    rule = Softmax(0.5, standardise=True)
    mean, _ = refitted(rule, VALUES, Refit(spread=0))
    assert torch.allclose(mean, refitted(rule, 1000 * VALUES - 50, Refit(spread=0))[0], atol=1e-4)
    deviation = math.sqrt(2 / 3)  # of the values 2, 1, 0
    plain, _ = refitted(Softmax(0.5 * deviation, standardise=False), VALUES, Refit(spread=0))
    assert torch.allclose(mean, plain, atol=1e-5)


def test_mppi_does_not_overflow() -> None:
    mean, _ = refitted(Softmax(1e-6, standardise=False), 1e6 * VALUES, Refit(spread=0))
    assert mean.item() == 1


@pytest.mark.parametrize("rule", RULES)
def test_weights_sum_to_one(rule: Weighting) -> None:
    index, weights = rule(VALUES.expand(3, 4))
    assert index.shape == weights.shape
    assert torch.allclose(weights.sum(-1), torch.ones(3))
    assert (weights >= 0).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("values", [[-math.inf] * 4, [2.0] * 4, [2.0, -math.inf, 2.0, 2.0]])
def test_nothing_finite_and_a_tie_move_nothing(rule: Weighting, values: list[float]) -> None:
    mean, std = refitted(rule, torch.tensor(values), Refit())
    assert torch.equal(mean, MEAN)
    assert torch.equal(std, STD)


@pytest.mark.parametrize("rule", RULES)
def test_the_only_finite_value_counts(rule: Weighting) -> None:
    mean, _ = refitted(rule, torch.tensor([-math.inf, 2.0, -math.inf, -math.inf]), Refit())
    assert mean.item() == 3
