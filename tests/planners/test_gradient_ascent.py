"""Projected gradient ascent: the gradient, the line search, and the limits of both."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from elites import Box
from elites.dynamics import Return
from elites.planners import CEMGD, Evaluator, GradCEM, GradientAscent, Plan, Problem
from elites.planners.gradient_ascent import Adam

BOX = Box(-torch.ones(5, 2), torch.ones(5, 2))


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def wavy(x: Tensor) -> Tensor:
    return (8 * torch.cos(6 * x) + 3 * x - 2 * x.square()).sum((-1, -2))


def algorithm_1(x: Tensor, steps: int, trials: int, step: float, decay: float) -> tuple[Tensor, list[float]]:
    """The paper's inner loops for one sequence, literally. Returns the value after every accepted step."""
    value = wavy(x).item()
    accepted = [value]
    for _ in range(steps):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(wavy(leaf), leaf)
        eta = step
        for _ in range(trials):
            candidate = (x + eta * gradient).clamp(-1, 1)
            if wavy(candidate).item() > value:
                x, value = candidate, wavy(candidate).item()
                accepted.append(value)
                break
            eta *= decay
        else:
            break
    return x, accepted


@pytest.mark.parametrize("line_search", ["sequential", "batched"])
@pytest.mark.parametrize("step", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("trials", [1, 2, 8])
def test_it_is_algorithm_1(line_search: Any, step: float, trials: int) -> None:
    start = torch.rand(4, 5, 2, generator=rng()) * 2 - 1
    ascent = GradientAscent(step=step, starts=4, line_search=line_search, trials=trials)
    points, values = ascent.climb(Evaluator(wavy, Problem(BOX, rng=rng())), start)
    for row in range(4):
        expected, accepted = algorithm_1(start[row], 10, trials, step, 0.67)
        assert torch.allclose(points[row], expected, atol=1e-5)
        assert values[row].item() == pytest.approx(accepted[-1], abs=1e-4)


@pytest.mark.parametrize("direction", ["gradient", "adam"])
@pytest.mark.parametrize("line_search", ["sequential", "batched"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), step=st.floats(1e-4, 1.0))
def test_the_value_never_falls(direction: Any, line_search: Any, seed: int, step: float) -> None:
    """Stopped after 0, 1, 2, … steps, an ascent is at better and better points, with the values that it reports."""
    start = torch.rand(3, 5, 2, generator=rng(seed)) * 2 - 1
    last, before = wavy(start), start
    for steps in range(1, 8):
        ascent = GradientAscent(steps=steps, step=step, direction=direction, line_search=line_search)
        points, values = ascent.climb(Evaluator(wavy, Problem(BOX, rng=rng())), start)
        assert torch.allclose(wavy(points), values, atol=1e-4)
        moved = (points != before).any(-1).any(-1)
        assert (values[moved] > last[moved]).all()
        assert torch.equal(values[~moved], last[~moved])
        assert torch.equal(points, BOX.project(points))
        last, before = values, points


@pytest.mark.parametrize("direction", ["gradient", "adam"])
def test_all_at_once_is_one_by_one(direction: Any) -> None:
    start = Plan.at(torch.rand(3, 5, 2, generator=rng(1)) * 2 - 1, (3,))
    searches: list[Any] = ["sequential", "batched"]
    ascents = [GradientAscent(direction=direction, line_search=search, step=0.1) for search in searches]
    a, b = (ascent.plan(wavy, BOX, start, batch=(3,), rng=rng()) for ascent in ascents)
    assert torch.allclose(a.best, b.best, atol=1e-5)
    assert torch.allclose(a.value, b.value, atol=1e-4)


def test_a_sequence_that_has_ended_does_not_move_again() -> None:
    """Momentum continues after the line search fails. The published code follows it and loses its value."""
    optimum = torch.zeros(5, 2)
    start = torch.stack([optimum, torch.full((5, 2), 0.9)])  # one is at the optimum, the other is far away

    def bowl(x: Tensor) -> Tensor:
        return -x.square().sum((-1, -2))

    points, values = GradientAscent(direction="adam", steps=30).climb(Evaluator(bowl, Problem(BOX, rng=rng())), start)
    assert torch.equal(points[0], optimum)
    assert values[0] == 0
    assert values[1] > bowl(start[1])


@pytest.mark.parametrize("line_search", ["sequential", "batched"])
def test_a_value_that_stays_is_no_improvement(line_search: Any) -> None:
    """The gradient points up, but the value stays: no step is accepted, and the first trial ends the ascent."""

    def flat(x: Tensor) -> Tensor:
        return x.sum((-1, -2)) - x.sum((-1, -2)).detach()

    problem, start = Evaluator(flat, Problem(BOX, rng=rng())), torch.zeros(2, 5, 2)
    points, _ = GradientAscent(line_search=line_search).climb(problem, start)
    assert torch.equal(points, start)
    assert problem.evaluations == 2 * (1 + 8)


def test_nan_is_no_improvement() -> None:
    """Everything beyond 0.5 is NaN, and the gradient points there."""

    def cliff(x: Tensor) -> Tensor:
        return torch.where((x > 0.5).any(-1).any(-1), math.nan, 10 * x.sum((-1, -2)))

    start = torch.full((1, 5, 2), 0.3)
    points, values = GradientAscent(steps=50).climb(Evaluator(cliff, Problem(BOX, rng=rng())), start)
    assert points.max() <= 0.5
    assert values > cliff(start)


def test_nan_gradient_stays_in_its_row() -> None:
    """The gradient of √|x| at 0 is infinity times the sign of 0, so NaN in one entry of one start."""

    def root(x: Tensor) -> Tensor:
        return -(x - 0.5).square().sum((-1, -2)) - 0.01 * x[..., 0, 0].abs().sqrt()

    start = torch.stack([torch.zeros(5, 2), torch.full((5, 2), 0.2)])
    points, values = GradientAscent(steps=3).climb(Evaluator(root, Problem(BOX, rng=rng())), start)
    assert points.isfinite().all()
    assert (values > root(start)).all()


# --- the gradient -----------------------------------------------------------------------------------------------------


class Network(nn.Module):
    """A smooth model with weights, in float64."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(5, 16), nn.SiLU(), nn.Linear(16, 3)).double()

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        return state + 0.3 * self.layers(torch.cat([state, action], -1))


def objective_over(model: Network) -> Any:
    returns = Return(model, lambda s, a, n: torch.cos(n).sum(-1) - 0.1 * a.square().sum(-1), discount=0.9)
    return returns.at(torch.tensor([0.1, -0.4, 0.7], dtype=torch.float64), rng())


def test_gradient_against_finite_differences() -> None:
    """Central differences in float64, through a rollout of a network."""
    objective, box = objective_over(Network()), BOX.to(dtype=torch.float64)
    x = torch.rand(1, 5, 2, generator=rng(), dtype=torch.float64) - 0.5
    values, gradient = Evaluator(objective, Problem(box, rng=rng())).trace(x)
    assert torch.equal(values, objective(x).detach())
    slope, h = gradient().flatten(), 1e-6
    for index in range(x.numel()):
        e = torch.zeros(x.numel(), dtype=torch.float64)
        e[index] = h
        difference = (objective(x + e.view_as(x)) - objective(x - e.view_as(x))) / (2 * h)
        assert slope[index].item() == pytest.approx(difference.item(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("planner", [GradientAscent(), CEMGD(), GradCEM()])
def test_nothing_reaches_the_models_grad(planner: GradientAscent) -> None:
    model = Network()
    plan = planner.plan(objective_over(model), BOX.to(dtype=torch.float64), rng=rng())
    assert plan.ok
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


# --- starts -----------------------------------------------------------------------------------------------------------


def test_a_cold_start_is_random_and_a_warm_one_is_the_elites() -> None:
    asked = []

    def objective(x: Tensor) -> Tensor:
        asked.append(x.detach().clone())
        return wavy(x)

    ascent = GradientAscent(starts=3)
    plan = ascent.plan(objective, BOX, rng=rng())
    assert asked[0].shape == (3, 5, 2)
    assert asked[0].std() > 0.4
    asked.clear()
    ascent.plan(objective, BOX, plan, rng=rng())
    assert torch.equal(asked[0], plan.elites)
    asked.clear()
    GradientAscent(starts=5).plan(objective, BOX, plan, rng=rng())  # the other two are random
    assert torch.equal(asked[0][:3], plan.elites)


def test_more_starts_find_better_optima() -> None:
    one, many = (GradientAscent(starts=n, steps=30).plan(wavy, BOX, batch=(50,), rng=rng()) for n in (1, 16))
    assert many.value.mean() > one.value.mean() + 1


def test_adams_direction_is_torchs() -> None:
    """For a few gradients in a row, against steps of torch.optim.Adam with rate 1."""
    points = torch.zeros(3, 5, 2)
    parameter = nn.Parameter(points.clone())
    theirs, ours = torch.optim.Adam([parameter], lr=1.0), Adam(points)
    for seed in range(6):
        gradient = torch.randn(3, 5, 2, generator=rng(seed)) * 10**seed
        before = parameter.detach().clone()
        parameter.grad = -gradient  # it descends
        theirs.step()
        torch.testing.assert_close(ours.direction(gradient), parameter.detach() - before, rtol=1e-4, atol=1e-5)
