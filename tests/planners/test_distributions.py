"""The rules for every distribution, over every warm start, guess, shift and fill; and their mathematics by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, tensor

from elites import Box, Choices, Space
from elites.planners import (
    CEM,
    DISTRIBUTIONS,
    ICEM,
    MPPI,
    PLANNERS,
    Categorical,
    ClippedNormal,
    Coloured,
    Distribution,
    Draw,
    Fill,
    FullNormal,
    NormalMixture,
    Plan,
    Planner,
    PredictiveSampling,
    RandomShooting,
    Refit,
    SplineKnots,
    TanhNormal,
    TruncatedNormal,
    Uniform,
    shift,
)
from elites.planners.distributions import suited

BOXES: dict[str, Space] = {
    "unit": Box(-torch.ones(6, 2), torch.ones(6, 2)),
    "aside": Box(torch.full((6, 2), 1.0), torch.full((6, 2), 3.0)),
    "flat": Box(tensor([[-1.0, 0.5]] * 6), tensor([[1.0, 0.5]] * 6)),
}
CHOICES = Choices((3, 2), single=False).repeat(6)
CASES = [(name, space) for name in DISTRIBUTIONS for space in BOXES if name != "categorical"]
CASES += [(name, "choices") for name in ("categorical", "uniform")]
FILLS: list[Fill] = ["repeat", "zero", "center"]


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def made(name: str, space: str) -> tuple[Distribution, Space]:
    return DISTRIBUTIONS[name](), CHOICES if space == "choices" else BOXES[space]


def some_points(space: Space, batch: int = 2) -> Tensor:
    return space.uniform(batch, rng(5))


def fitted(distribution: Distribution, space: Space, refit: Refit | None = None) -> Any:
    """A fitted state for two problems."""
    draw = Draw(space, (2,), rng(3))
    state = distribution.begin(space, (2,), 0.5)
    own = distribution.sample(state, space, 7, draw)
    weights = tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    return distribution.fit(state, own[:, :3], weights, space, refit or Refit(0.9, 0.9))


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[Distribution, Space]:
    return made(*request.param)


Case = tuple[Distribution, Space]


# --- the contract -----------------------------------------------------------------------------------------------------


def test_it_is_one(case: Case) -> None:
    assert isinstance(case[0], Distribution)


def test_shapes_and_the_space(case: Case) -> None:
    distribution, space = case
    for batch in ((), (2,), (2, 3)):
        state = distribution.begin(space, batch, 0.5)
        assert all(x.shape[: len(batch)] == batch for x in state)
        own = distribution.sample(state, space, 40, Draw(space, batch, rng()))
        points = distribution.points(own, space)
        assert own.shape[: len(batch) + 1] == (*batch, 40)
        assert points.shape == (*batch, 40, *space.shape)
        assert torch.allclose(points, space.project(points))
        assert distribution.centre(state, space).shape == (*batch, *space.shape)


def test_own_coordinates_and_back(case: Case) -> None:
    distribution, space = case
    own = distribution.sample(fitted(distribution, space), space, 9, Draw(space, (2,), rng()))
    points = distribution.points(own, space)
    again = distribution.points(distribution.own(points, space), space)
    assert torch.allclose(again, points, atol=0.011 * 2)  # a tanh's tail ends at 99 % of the way


def test_around_is_centred_on_the_point(case: Case) -> None:
    distribution, space = case
    point = some_points(space)
    expected = distribution.points(distribution.own(point, space), space)  # for knots, the curve through them
    centre = distribution.centre(distribution.around(space, point, 0.3), space)
    assert torch.allclose(centre, expected, atol=1e-5)


def test_renewed_keeps_the_centre_to_the_bit_and_takes_the_first_spread(case: Case) -> None:
    distribution, space = case
    state = fitted(distribution, space)
    renewed = distribution.renewed(state, space, 0.5)
    assert torch.equal(distribution.centre(renewed, space), distribution.centre(state, space))
    first = distribution.around(space, distribution.centre(state, space), 0.5)
    assert all(torch.equal(a, b) for a, b in zip(renewed[1:], first[1:], strict=True))


def test_no_weight_leaves_the_state(case: Case) -> None:
    distribution, space = case
    state = fitted(distribution, space)
    own = distribution.sample(state, space, 4, Draw(space, (2,), rng()))
    weights = tensor([[0.0] * 4, [0.25] * 4])
    after = distribution.fit(state, own, weights, space, Refit(0.9, 0.9, 0.1))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(after, state, strict=True))
    assert not all(torch.equal(a[1], b[1]) for a, b in zip(after, state, strict=True))
    assert all(x.isfinite().all() for x in after)


def test_rows_do_not_influence_each_other(case: Case) -> None:
    distribution, space = case
    state = fitted(distribution, space)
    own = distribution.sample(state, space, 4, Draw(space, (2,), rng()))
    weights = torch.full((2, 4), 0.25)
    other = own.clone()
    other[1] = own[1].flip(0)
    a, b = (distribution.fit(state, x, weights, space, Refit(0.9, 0.9)) for x in (own, other))
    assert all(torch.equal(x[0], y[0]) for x, y in zip(a, b, strict=True))


def test_no_spread_is_asked_for_and_none_is_lost(case: Case) -> None:
    """With `Refit(spread=0)` the centre moves and the spread stays."""
    distribution, space = case
    first = distribution.begin(space, (2,), 0.5)
    after = fitted(distribution, space, Refit(spread=0))
    assert all(torch.equal(a, b) for a, b in zip(first[1:], after[1:], strict=True))
    assert not torch.equal(first[0], after[0])


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("steps", [0, 1, 4, 6, 9])
def test_the_centre_of_a_shifted_state_is_the_shifted_centre(case: Case, fill: Fill, steps: int) -> None:
    """For every box, also without 0 inside. A spline's centre is the curve through its shifted knots."""
    distribution, space = case
    point = some_points(space)
    state = distribution.around(space, point, 0.3)
    start = distribution.centre(state, space)
    moved = distribution.centre(distribution.shifted(state, space, steps, fill), space)
    expected = shift(Plan.at(start, (2,)), steps, fill, space).best
    if isinstance(distribution, SplineKnots):
        expected = distribution.points(distribution.own(expected, space), space)
    atol = 0.011 * 2 if isinstance(distribution, TanhNormal) else 1e-5
    assert torch.allclose(moved, expected, atol=atol)


# --- every planner that takes one, from every start -------------------------------------------------------------------


def planners(distribution: Distribution) -> list[tuple[Planner, str]]:
    both: list[Any] = ["best", "mean"]
    found: list[tuple[Planner, str]] = [
        (CEM(samples=30, elites=5, distribution=distribution, warm=warm), warm) for warm in both
    ]
    return [*found, (PredictiveSampling(samples=30, distribution=distribution), "best")]


class Asked:
    """An objective that records its first candidates and prefers points near a target."""

    def __init__(self, target: Tensor) -> None:
        self.target, self.points = target, torch.empty(0)

    def __call__(self, x: Tensor) -> Tensor:
        self.points = self.points if len(self.points) else x.clone()
        return -(x - self.target.unsqueeze(1)).square().sum((-1, -2))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("guessed", [False, True])
def test_a_warm_search_begins_where_the_last_one_ended(case: Case, guessed: bool, fill: Fill) -> None:
    """For every distribution, start and fill: without a spread, all candidates are the shifted centre."""
    distribution, space = case
    target = some_points(space)
    for planner, warm in planners(distribution):
        guess = Plan.at(target, (2,))
        last = guess if guessed else planner.plan(Asked(target), space, batch=(2,), rng=rng())
        start = shift(last, 1, fill, space)
        objective = Asked(target)
        still = planner.__class__(**{**vars(planner), "spread": 1e-6})
        still.plan(objective, space, start, batch=(2,), rng=rng(1))
        drawn = objective.points[:, :30]
        if warm == "mean" and not guessed:
            assert start.state is not None
            expected = distribution.centre(start.state, space)
        else:
            expected = distribution.points(distribution.own(start.best, space), space)
        if isinstance(distribution, Categorical) and warm == "mean" and not guessed:
            expected = start.state[0]  # type: ignore[index]  # drawn as often as that, not always the most frequent
            assert torch.allclose(drawn.mean(1), expected, atol=0.4)
        elif not isinstance(distribution, Uniform):
            assert torch.allclose(drawn, expected.unsqueeze(1).expand_as(drawn), atol=0.03), (planner, warm)
        assert torch.equal(objective.points[:, 30], start.best)


def test_a_guess_is_where_a_tanh_search_begins() -> None:
    """0.95 is a point. It is not a number before the tanh, which would give 0.74."""
    objective, box = Asked(torch.full((1, 6, 2), 0.95)), BOXES["unit"]
    cem = CEM(distribution=TanhNormal(), warm="mean", spread=0.01)
    cem.plan(objective, box, Plan.at(torch.full((1, 6, 2), 0.95), (1,)), batch=(1,), rng=rng())
    assert objective.points.mean().item() == pytest.approx(0.95, abs=0.005)


def test_a_plan_of_another_distribution_is_taken_up_through_its_best() -> None:
    box, target = BOXES["unit"], torch.full((1, 6, 2), 0.8)
    tanh = CEM(distribution=TanhNormal()).plan(Asked(target), box, batch=(1,), rng=rng())
    objective = Asked(target)
    CEM(distribution=ClippedNormal(), warm="mean", spread=0.01).plan(objective, box, tanh, batch=(1,), rng=rng())
    assert torch.allclose(objective.points.mean(1), tanh.best, atol=0.01)


def test_zero_is_zero_on_a_box_beside_it() -> None:
    """`fill="zero"` on [1, 3] is the bound 1, before and after a tanh (to 99 % of the way)."""
    box, tanh = BOXES["aside"], TanhNormal()
    state = tanh.shifted(tanh.begin(box, (), 0.5), box, 2, "zero")
    assert tanh.centre(state, box)[-2:] == pytest.approx(1.0, abs=0.011)


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_a_spline_moves_its_curve() -> None:
    """Linear knots at 0, 2 and 5: a ramp shifted by one step stays a ramp and is constant at the end."""
    box, spline = Box(torch.full((6, 1), -9.0), torch.full((6, 1), 9.0)), SplineKnots(3, "linear")
    ramp = torch.arange(6.0)[:, None]
    state = spline.around(box, ramp, 0.5)
    assert state[0].flatten().tolist() == [0, 2, 5]
    assert spline.shifted(state, box, 1, "repeat")[0].flatten().tolist() == [1, 3, 5]
    assert spline.shifted(state, box, 1, "zero")[0].flatten().tolist() == [1, 3, 0]


def test_frequencies_by_hand() -> None:
    """Three answers drawn 2 : 1 : 0 with weights 0.5, 0.25, 0.25; α = 0.8 of them and 0.2 of a third each."""
    space, categorical = Choices((3,)), Categorical()
    own = space.rows(tensor([[0], [1], [0]]))
    state = categorical.fit(
        categorical.begin(space, (), 0.5), own, tensor([0.5, 0.25, 0.25]), space, Refit(0.8, 0.6, 0.05)
    )
    assert torch.allclose(state[0], 0.2 * tensor([1 / 3] * 3) + 0.8 * tensor([0.75, 0.25, 0.0]))
    assert torch.allclose(state[1], tensor(0.5 * 0.4))
    state = categorical.fit(state, own, tensor([1.0, 0.0, 0.0]), space, Refit(1.0, 1.0, 0.05))
    assert state[0].tolist() == [1, 0, 0]
    assert torch.allclose(state[1], tensor(0.05))


@pytest.mark.parametrize("noise", [None, Coloured(2.0)])
def test_choices_are_drawn_as_often_as_they_should_be(noise: Any) -> None:
    """p = 0.7 f + 0.3 / K for each question. Colour does not change frequencies."""
    space = Choices((3, 2), single=False).repeat(4)
    categorical = Categorical(noise) if noise else Categorical()
    share = tensor([0.6, 0.4, 0.0, 0.1, 0.9]).expand(4, 5)
    state = (share, torch.full((4, 5), 0.3))
    drawn = categorical.sample(state, space, 20_000, Draw(space, (), rng()))
    expected = 0.7 * share + 0.3 * tensor([1 / 3] * 3 + [0.5] * 2)
    assert (drawn.mean(0) - expected).abs().max() < 0.015


def test_colour_makes_choices_last() -> None:
    """Under red noise, neighbours in time are equal more often than by chance."""
    space = Choices((2,)).repeat(20)
    same = {}
    for name, categorical in {"white": Categorical(), "red": Categorical(Coloured(2.0))}.items():
        drawn = categorical.sample(categorical.begin(space, (), 1.0), space, 4000, Draw(space, (), rng()))
        same[name] = (drawn[:, 1:] == drawn[:, :-1]).float().mean().item()
    assert same["white"] == pytest.approx(0.5, abs=0.02)
    assert same["red"] > 0.75


def test_a_mixture_keeps_both_of_two_optima() -> None:
    """Elites around -3 and 4, twice as many at 4. Two components hold them; what one normal would draw is between."""
    box, mixture = Box(torch.full((2,), -9.0), torch.full((2,), 9.0)), NormalMixture()
    offsets = torch.randn(30, 2, generator=rng()) * 0.1
    own = offsets + tensor([-3.0] * 10 + [4.0] * 20)[:, None]
    state: Any = mixture.fit(mixture.begin(box, (), 0.5), own, torch.full((30,), 1 / 30), box, Refit())
    drawn = mixture.sample(state, box, 3000, Draw(box, (), rng(1)))
    low = drawn[:, 0] < 0
    assert low.float().mean().item() == pytest.approx(1 / 3, abs=0.03)
    assert torch.allclose(drawn[low].mean(0), own[:10].mean(0), atol=0.02)
    assert torch.allclose(drawn[~low].std(0), own[10:].std(0), atol=0.03)
    assert torch.allclose(mixture.centre(state, box), tensor([4.0, 4.0]), atol=0.3)


def test_a_mixture_of_one_is_a_normal() -> None:
    box, one, normal = BOXES["unit"], NormalMixture(components=1), ClippedNormal()
    own = torch.randn(5, 6, 2, generator=rng()).clamp(-1, 1)
    weights = tensor([0.4, 0.3, 0.1, 0.1, 0.1])
    found: Any = one.fit(one.begin(box, (), 0.5), own, weights, box, Refit(0.7, 0.6, 0.1))
    expected: Any = normal.fit(normal.begin(box, (), 0.5), own, weights, box, Refit(0.7, 0.6, 0.1))
    assert torch.allclose(found.mean[0], expected.mean, atol=1e-6)
    assert torch.allclose(found.std[0], expected.std, atol=1e-6)


def test_a_component_without_candidates_is_dropped() -> None:
    """Three candidates in one place and one far away: it would be a normal without a spread."""
    box, mixture = Box([-9.0], [9.0]), NormalMixture()
    own = tensor([[1.0], [1.1], [0.9], [7.0]])
    state: Any = mixture.fit(mixture.begin(box, (), 0.5), own, torch.full((4,), 0.25), box, Refit())
    assert (state.share > 0).sum() <= 2
    assert state.share.sum().item() == pytest.approx(1)
    assert state.std[state.share > 0].min() > 0
    drawn = mixture.sample(state, box, 500, Draw(box, (), rng()))
    assert drawn.unique().numel() > 400


def test_full_normal_draws_its_covariance() -> None:
    box = Box(torch.full((2, 1), -99.0), torch.full((2, 1), 99.0))
    covariance = tensor([[4.0, -1.5], [-1.5, 1.0]])
    drawn = FullNormal().sample((tensor([[1.0], [2.0]]), covariance), box, 40_000, Draw(box, (), rng()))
    assert torch.allclose(drawn.mean(0).flatten(), tensor([1.0, 2.0]), atol=0.05)
    assert torch.allclose(torch.cov(drawn.flatten(1).mT), covariance, atol=0.08)


def test_full_normal_is_the_root_of_its_covariance_times_noise() -> None:
    """mean + L ε, with the generator's numbers."""
    box = Box(torch.full((2,), -99.0), torch.full((2,), 99.0))
    covariance = tensor([[4.0, -1.5], [-1.5, 1.0]])
    drawn = FullNormal().sample((tensor([1.0, 2.0]), covariance), box, 5, Draw(box, (), rng(3)))
    noise = torch.randn(5, 2, generator=rng(3))
    expected = tensor([1.0, 2.0]) + noise @ torch.linalg.cholesky(covariance).mT
    assert torch.allclose(drawn, expected, atol=1e-4)


def test_full_normal_fits_a_shrunk_covariance() -> None:
    """Four corners of a slanted rectangle with equal weights: n = 4, D = 2, so λ = 1/3 less off the diagonal."""
    box, full = Box(torch.full((2,), -9.0), torch.full((2,), 9.0)), FullNormal()
    own = tensor([[1.0, 1.0], [-1.0, -1.0], [2.0, 1.0], [-2.0, -1.0]])
    state = full.fit(full.begin(box, (), 0.5), own, torch.full((4,), 0.25), box, Refit())
    assert torch.allclose(state[0], torch.zeros(2))
    assert torch.allclose(state[1], tensor([[2.5, 1.0], [1.0, 1.0]]))
    half = full.fit(full.begin(box, (), 0.5), own, torch.full((4,), 0.25), box, Refit(1.0, 0.5))
    assert torch.allclose(half[1], 0.5 * torch.eye(2) * 4.5**2 + 0.5 * tensor([[2.5, 1.0], [1.0, 1.0]]))
    floored = full.fit(full.begin(box, (), 0.5), own, torch.full((4,), 0.25), box, Refit(floor=0.2))
    assert torch.allclose(floored[1], tensor([[1.8**2, 1.0], [1.0, 1.8**2]]))


def test_one_candidate_has_no_covariance_and_can_be_drawn_from() -> None:
    box, full = Box(torch.full((2,), -9.0), torch.full((2,), 9.0)), FullNormal()
    state = full.fit(full.begin(box, (), 0.5), tensor([[1.0, 2.0]]), torch.ones(1), box, Refit())
    drawn = full.sample(state, box, 5, Draw(box, (), rng()))
    assert torch.allclose(drawn, tensor([1.0, 2.0]).expand(5, 2))


def test_a_shifted_covariance_moves_on() -> None:
    """Steps 1 and 2 of three become 0 and 1. The new last step has the old variance and no covariance."""
    box, full = Box(torch.full((3, 1), -9.0), torch.full((3, 1), 9.0)), FullNormal()
    covariance = tensor([[4.0, 1.0, 0.5], [1.0, 3.0, 0.7], [0.5, 0.7, 2.0]])
    _, moved = full.shifted((torch.zeros(3, 1), covariance), box, 1, "repeat")
    assert torch.equal(moved, tensor([[3.0, 0.7, 0.0], [0.7, 2.0, 0.0], [0.0, 0.0, 2.0]]))


def test_full_normal_beats_the_diagonal_in_a_narrow_valley() -> None:
    """x and y must move together: -(x - y)² · 400 - (x + y - 1.4)²."""

    def valley(x: Tensor) -> Tensor:
        return -400 * (x[..., 0] - x[..., 1]).square() - (x.sum(-1) - 1.4).square()

    box = Box([-1.0, -1.0], [1.0, 1.0])
    wide = {"samples": 40, "elites": 10, "iterations": 8, "alpha": 1.0}
    found = {}
    for distribution in (FullNormal(), TruncatedNormal()):
        plans = CEM(distribution=distribution, **wide).plan(valley, box, batch=(200,), rng=rng())  # type: ignore[arg-type]
        found[distribution] = plans.value.mean().item()
    assert found[FullNormal()] > 0.4 * found[TruncatedNormal()]  # both are below 0; 0.31 was seen


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: FullNormal().begin(Box([-1.0] * 513, [1.0] * 513), (), 0.5), "at most 512 dimensions, got 513"),
        (lambda: FullNormal().begin(CHOICES, (), 0.5), "FullNormal: expected a Box to draw in"),
        (lambda: Categorical().begin(BOXES["unit"], (), 0.5), "Categorical: expected Choices to draw from"),
        (lambda: TanhNormal().begin(Box([0.0], [math.inf]), (), 0.5), "TanhNormal: expected a box with finite bounds"),
    ],
)
def test_where_a_distribution_does_not_fit(act: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


# --- choices ----------------------------------------------------------------------------------------------------------


def test_normals_give_way_over_choices() -> None:
    assert suited(TruncatedNormal(), CHOICES) == Categorical()
    assert suited(ClippedNormal(Coloured(1.0)), CHOICES) == Categorical(Coloured(1.0))
    assert suited(SplineKnots(), CHOICES) == Categorical()
    assert suited(TanhNormal(), BOXES["unit"]) == TanhNormal()


SAMPLING = [CEM(), CEM(answer="mean", warm="mean"), ICEM(), MPPI(), PredictiveSampling(iterations=5), RandomShooting()]


@pytest.mark.parametrize("planner", SAMPLING, ids=lambda planner: type(planner).__name__)
def test_planners_choose(planner: Planner) -> None:
    """Finds the best of 6 ** 6 sequences from a warm start, in a batch, one-hot, with the same bits for a seed."""
    worth = torch.rand(2, 6, 5, generator=rng(7))

    def objective(x: Tensor) -> Tensor:
        return (x * worth.unsqueeze(1)).sum((-1, -2))

    def run() -> Plan:
        plan, source = None, rng()
        for _ in range(12):
            plan = planner.plan(objective, CHOICES, plan, batch=(2,), rng=source)
        assert plan is not None
        return plan

    plan = run()
    assert torch.equal(plan.best, CHOICES.project(plan.best))
    most = objective(CHOICES.project(worth).unsqueeze(1)).squeeze(1)
    assert (plan.value > (0.8 if isinstance(planner, RandomShooting) else 0.97) * most).all()
    assert torch.equal(run().best, plan.best)


@pytest.mark.parametrize("name", ["gradient_ascent", "cem_gd", "grad_cem"])
def test_a_gradient_planner_refuses_choices(name: str) -> None:
    with pytest.raises(ValueError, match=r"^GradientAscent: expected a Box, as choices have no gradient"):
        PLANNERS[name]().plan(lambda x: x.sum((-1, -2)), CHOICES, rng=rng())


def test_nothing_waits_for_the_device_over_choices() -> None:
    space = CHOICES.to(device="meta")
    for planner in SAMPLING:
        plan = planner.plan(lambda x: x.sum((-1, -2)), space, batch=(2,), rng=rng())
        plan = planner.plan(lambda x: x.sum((-1, -2)), space, shift(plan, space=space), batch=(2,), rng=rng())
        assert plan.best.shape == (2, 6, 5)


def test_no_device_is_waited_for_by_a_full_covariance() -> None:
    box = Box(-torch.ones(4), torch.ones(4)).to(device="meta")
    assert CEM(distribution=FullNormal()).plan(lambda x: x.sum(-1), box, rng=rng()).best.shape == (4,)
