"""Quasi-Newton ascent, and the planner that blends proposals: against exact answers and against other planners."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from elites import Box, Choices
from elites.planners import CEM, CEMGD, ICEM, LBFGS, MPPI, Blend, GradientAscent, Plan, Problem, shift
from elites.planners.blend import BlendSearch
from elites.planners.evaluator import Evaluator
from elites.planners.lbfgs import Curvature
from elites.planners.proposals import Mutations, stretches
from elites.planners.saving import loaded, saved

BOX = Box(-torch.ones(6, 2), torch.ones(6, 2))
STEEP = 10 ** torch.linspace(0, 3, 12).reshape(6, 2)  # a bowl a thousand times as steep in one direction


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def bowl(x: Tensor) -> Tensor:
    return -(STEEP * (x - 0.3).square()).sum((-1, -2))


def valley(x: Tensor) -> Tensor:
    """Rosenbrock's, with its optimum at 0.5."""
    z = 2 * x.flatten(-2)
    return -(100 * (z[..., 1:] - z[..., :-1].square()).square() + (1 - z[..., :-1]).square()).sum(-1)


# --- quasi-Newton ascent ----------------------------------------------------------------------------------------------


def test_the_inverse_curvature_is_that_of_bfgs() -> None:
    """Against H ← (1 - ρ s yᵀ) H (1 - ρ y sᵀ) + ρ s sᵀ, in full, with the first H of eq. 7.20."""
    size, pairs = 5, 3
    steps = torch.randn(pairs, size, generator=rng(), dtype=torch.float64)
    matrix = torch.randn(size, size, generator=rng(1), dtype=torch.float64)
    falls = steps @ (matrix @ matrix.T + torch.eye(size))
    curvature = Curvature(memory=pairs)
    for step, fall in zip(steps, falls, strict=True):
        curvature.learn(step, fall, torch.tensor(True))
    identity = torch.eye(size, dtype=torch.float64)
    expected = (steps[-1] @ falls[-1]) / (falls[-1] @ falls[-1]) * identity
    for step, fall in zip(steps, falls, strict=True):
        rho = 1 / (step @ fall)
        left = identity - rho * torch.outer(step, fall)
        expected = left @ expected @ left.T + rho * torch.outer(step, step)
    slope = torch.randn(size, generator=rng(2), dtype=torch.float64)
    torch.testing.assert_close(curvature.inverse(slope, lambda: torch.tensor([9.0])), expected @ slope)


def test_it_climbs_a_steep_bowl_where_gradient_steps_do_not() -> None:
    start = Plan.at(torch.zeros(6, 2))
    plan = LBFGS(steps=60, starts=1).plan(bowl, BOX, start, rng=rng())
    slow = GradientAscent(steps=60, trials=8, starts=1).plan(bowl, BOX, start, rng=rng())
    assert plan.value > -0.01
    assert slow.value < 30 * plan.value
    assert plan.evaluations <= 61 < slow.evaluations


def test_an_optimum_in_a_corner_of_the_box_is_reached() -> None:
    plan = LBFGS(starts=1).plan(lambda x: (STEEP * x).sum((-1, -2)), BOX, Plan.at(torch.zeros(6, 2)), rng=rng())
    assert (plan.best > 0.9).all()


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_the_scale_of_the_values_does_not_matter(size: float) -> None:
    start = Plan.at(torch.zeros(6, 2))
    plan = LBFGS(steps=100, starts=1).plan(lambda x: size * valley(x), BOX, start, rng=rng())
    assert valley(plan.best) > -1e-6 > -10.0 > valley(start.best)


def test_it_stops_where_no_step_improves() -> None:
    points = torch.full((1, 6, 2), 0.3)
    evaluator = Evaluator(bowl, Problem(BOX, rng=rng()))
    found, values = LBFGS(steps=50).climb(evaluator, points)
    torch.testing.assert_close(found, points)
    assert values.item() == 0.0
    assert evaluator.evaluations < 10


def test_nobody_computes_a_gradient_that_no_step_needs() -> None:
    """Not after the last step, and not where a trial failed."""
    for size, needed in ((1.0, range(1, 6)), (1e3, range(1, 2))):  # the ridge is too narrow for a first step
        computed: list[int] = []

        def ridge(x: Tensor, size: float = size, computed: list[int] = computed) -> Tensor:
            if x.requires_grad:
                x.register_hook(lambda _: computed.append(1))
            return -(size * (x - 0.3)).abs().sum((-1, -2))

        plan = LBFGS(steps=5, starts=1).plan(ridge, BOX, Plan.at(torch.full((6, 2), 0.3001)), rng=rng())
        assert plan.evaluations > len(computed)
        assert len(computed) in needed


def test_cem_gd_takes_either_ascent() -> None:
    cem = CEM(samples=20, elites=4)
    plan = CEMGD(cold=cem, warm=cem, ascent=LBFGS(steps=40)).plan(valley, BOX, rng=rng())
    assert plan.value > CEMGD(cold=cem, warm=cem).plan(valley, BOX, rng=rng()).value + 1.0


# --- proposals --------------------------------------------------------------------------------------------------------


def test_a_mutation_changes_one_stretch() -> None:
    draw = Problem(BOX, batch=(3,), rng=rng()).draw
    moved = stretches(draw, 200)[..., 0].double()  # (3, 200, H)
    edges = moved.diff(dim=-1).abs().sum(-1) + moved[..., 0] + moved[..., -1]
    assert (edges == 2).all()  # one stretch each
    assert 0 < moved.mean() < 0.6
    assert (moved.sum(-1) <= 4).all()


def test_mutations_change_some_choices() -> None:
    space = Choices((3,)).repeat(8)
    draw = Problem(space, batch=(2,), rng=rng()).draw
    best = space.centre.expand(2, 8, 3)
    best = space.project(best + torch.rand(2, 8, 3, generator=rng()))
    points = Mutations().draw(best, 50, draw)
    assert points.shape == (2, 50, 8, 3)
    assert (points.sum(-1) == 1).all()
    changed = (points != best.unsqueeze(1)).any(-1).double().mean()
    assert 0.05 < changed < 0.5


# --- the blend --------------------------------------------------------------------------------------------------------


def test_it_uses_the_evaluations_that_it_is_given() -> None:
    for samples in (2, 3, 5, 7, 8, 9, 10, 39, 50, 500):
        for start in (None, Plan.at(torch.zeros(6, 2))):
            planner = Blend(samples=samples, warm=None)
            calls: list[int] = []

            def counted(x: Tensor, calls: list[int] = calls) -> Tensor:
                calls.append(x.shape[-3])
                return valley(x)

            plan = planner.plan(counted, BOX, start, rng=rng())
            assert plan.evaluations == sum(calls)
            assert 0.6 * samples <= sum(calls) <= samples


def test_the_next_elite_climbs_with_what_a_short_climb_leaves() -> None:
    def pits(x: Tensor) -> Tensor:
        return (torch.cos(8 * x) - x.square()).sum((-1, -2))

    climb = LBFGS(steps=34, starts=1).plan(pits, BOX, Plan.at(torch.full((6, 2), 0.3)), rng=rng())
    assert climb.evaluations < 25
    plans = [Blend(samples=50, share=share).plan(pits, BOX, rng=rng()) for share in (0.7, 0.3)]
    assert min(plan.evaluations for plan in plans) >= 49
    assert Blend().plan(pits, BOX, rng=rng()).evaluations > 420  # 388 without


def test_without_a_gradient_it_samples_only() -> None:
    def in_numpy(x: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(valley(torch.from_numpy(x.numpy()))))

    plan = Blend(samples=200).plan(in_numpy, BOX, rng=rng())
    assert plan.ok
    assert 150 <= plan.evaluations <= 200


def test_a_warm_plan_tries_no_gradient_that_the_last_one_had() -> None:
    last = Blend(samples=40, warm=12).plan(bowl, BOX, rng=rng())
    assert last.gradient
    found = Blend(samples=40, warm=12).plan(bowl, BOX, last, rng=rng(1))
    with_a_try = Blend(samples=40, warm=12).plan(bowl, BOX, replace(last, gradient=False), rng=rng(1))
    assert (found.evaluations, with_a_try.evaluations) == (11, 12)
    assert torch.equal(found.best, with_a_try.best)
    assert found.gradient


def test_a_plan_keeps_whether_there_is_a_gradient() -> None:
    plan = Blend(samples=40).plan(bowl, BOX, batch=(2,), rng=rng())
    kept = saved(plan)
    assert loaded(kept, BOX).gradient
    del kept["gradient"]  # as in older checkpoints
    assert not loaded(kept, BOX).gradient
    assert shift(plan, 1, space=BOX).gradient
    none = replace(plan, gradient=False)
    assert none.merged(plan.map(lambda x: x[:1]), torch.tensor([1])).gradient


def test_a_warm_plan_of_another_objective_without_a_gradient_samples_only() -> None:
    last = Blend(samples=40).plan(bowl, BOX, rng=rng())
    found = Blend(samples=40).plan(lambda x: bowl(x.detach()), BOX, last, rng=rng())
    assert found.value >= bowl(last.best)
    assert not found.gradient


def test_an_error_in_the_climb_of_a_warm_plan_is_not_hidden() -> None:
    calls = [0]

    def fails_once(x: Tensor) -> Tensor:
        if x.requires_grad:
            calls[0] += 1
            if calls[0] == 3:
                raise ValueError("a bug")
        return bowl(x)

    last = Blend(samples=40).plan(bowl, BOX, rng=rng())
    with pytest.raises(ValueError, match="a bug"):
        Blend(samples=40).plan(fails_once, BOX, last, rng=rng())


def test_an_error_of_the_objective_is_not_hidden() -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("the objective is broken")

    with pytest.raises(RuntimeError, match="the objective is broken"):
        Blend().plan(broken, BOX, rng=rng())


@pytest.mark.parametrize("objective", [bowl, valley])
def test_with_80_evaluations_it_is_ahead_of_others_with_500(objective: Any) -> None:
    others = [CEM(samples=100, elites=10), MPPI(samples=100), ICEM(samples=150, elites=10)]
    values = [planner.plan(objective, BOX, batch=(), rng=rng()).value for planner in others]
    assert Blend(samples=80).plan(objective, BOX, rng=rng()).value > max(values)


def test_proposals_have_equal_shares() -> None:
    """The first third of a round are smooth curves around the best point. The others have other centres."""
    search = Blend().search(Problem(Box(-torch.ones(24, 1), torch.ones(24, 1)), rng=rng()), 600)
    assert isinstance(search, BlendSearch)
    search.tell(torch.rand(len(search.ask()), generator=rng(1)))
    points = search.ask()
    moved = points - search.found
    roughness = moved.diff(dim=-2).square().mean((-1, -2)) / moved.square().mean((-1, -2))
    third = -(-len(points) // 3)
    assert roughness[:third].mean() < 0.5
    assert roughness[third : third + 3].mean() > 0.7
    assert roughness[third:].mean() > 0.9


def test_the_refit_learns_from_every_proposal() -> None:
    search = Blend().search(Problem(BOX, rng=rng()), 600)
    assert isinstance(search, BlendSearch)
    points = search.ask()
    values = torch.rand(len(points), generator=rng(1))
    search.tell(values)
    best = points[values.topk(len(points) // 10).indices]
    torch.testing.assert_close(search.refitted.tensors[0], 0.9 * best.mean(0))


def test_with_a_smooth_optimum_it_comes_close() -> None:
    curve = torch.linspace(0, 3.14, 24).sin()[:, None]
    search = Blend().search(Problem(Box(-torch.ones(24, 1), torch.ones(24, 1)), rng=rng()), 600)
    while not search.done:
        search.tell(-(search.ask() - curve).square().sum((-1, -2)))
    assert search.plan.value > -1.0


@pytest.mark.parametrize(("budget", "several"), [(1, 1), (50, 1), (100, 2), (500, 3)])
def test_a_small_plan_has_fewer_proposals(budget: int, several: int) -> None:
    search = Blend().search(Problem(BOX, rng=rng()), budget)
    assert isinstance(search, BlendSearch)
    assert len(search.proposals) == several


def test_over_choices_mutations_are_not_alone() -> None:
    search = Blend().search(Problem(Choices((4,)).repeat(10), rng=rng()), 50)
    assert isinstance(search, BlendSearch)
    assert [type(proposal).__name__ for proposal in search.proposals] == ["Mutations", "Fitted", "Fitted"]


def test_over_choices_it_finds_the_answers() -> None:
    space = Choices((4,)).repeat(10)
    right = torch.randint(4, (10,), generator=rng(3))
    objective = lambda x: x[..., torch.arange(10), right].sum(-1)  # noqa: E731
    plan = Blend(samples=600).plan(objective, space, rng=rng())
    assert plan.value == 10


def test_any_share_and_any_number_of_steps_fit_the_budget() -> None:
    for steps in (1, 2, 3, 5):
        for share in (0.3, 0.95):
            for samples in (10, 39, 100):
                planner = Blend(samples=samples, share=share, ascent=LBFGS(steps=steps))
                assert planner.plan(valley, BOX, rng=rng()).evaluations <= samples


def test_one_choice_stays_one() -> None:
    """A space without time, of one question or several."""
    for space in (Choices((4,)), Choices((3, 2), single=False)):
        search = Blend(samples=60).begin(space, rng=rng())
        while not search.done:
            points = search.ask()
            torch.testing.assert_close(space.project(points), points)
            search.tell(points @ torch.arange(float(points.shape[-1])))
        torch.testing.assert_close(space.project(search.plan.best), search.plan.best)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    box = Box(-torch.ones(4, 2, dtype=dtype), torch.ones(4, 2, dtype=dtype))
    for planner in (LBFGS(steps=5), Blend(samples=60)):
        assert planner.plan(lambda x: -(x - 0.3).square().sum((-1, -2)), box, rng=rng()).best.dtype == dtype


def test_without_bounds_a_slope_without_end_is_left() -> None:
    box = Box(torch.full((3, 1), -torch.inf), torch.full((3, 1), torch.inf))
    seen: list[bool] = []

    def slope(x: Tensor) -> Tensor:
        seen.append(bool(x.isfinite().all()))
        return x.sum((-1, -2))

    LBFGS(starts=1, steps=300).plan(slope, box, Plan.at(torch.zeros(3, 1)), rng=rng())
    assert all(seen)
    assert len(seen) < 50


def test_saved_in_the_middle_it_goes_on_with_the_same_bits() -> None:
    whole, first = (Blend(samples=200).begin(BOX, rng=rng(1)) for _ in range(2))
    for _ in range(3):
        whole.tell(valley(whole.ask()))
        first.tell(valley(first.ask()))
    second = Blend(samples=200).begin(BOX, rng=rng(9))
    second.load_state_dict(first.state_dict())
    while not whole.done:
        whole.tell(valley(whole.ask()))
        second.tell(valley(second.ask()))
    assert torch.equal(whole.plan.best, second.plan.best)
    assert torch.equal(whole.plan.value, second.plan.value)
