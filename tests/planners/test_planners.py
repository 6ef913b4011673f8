"""Behaviour of single planners: iCEM's memory, CEM-GD's budget, the shift from plan to plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from elites import Box
from elites.planners import (
    CEM,
    CEMGD,
    ICEM,
    GradCEM,
    GradientAscent,
    Plan,
    PredictiveSampling,
    TanhNormal,
    TruncatedNormal,
    shift,
)

BOX = Box(-torch.ones(6, 2), torch.ones(6, 2))


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def bumps(x: Tensor) -> Tensor:
    return (torch.cos(7 * x) - x.square()).sum((-1, -2))


class Recorder:
    """An objective that records its candidates."""

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        return bumps(x)


# --- the shift --------------------------------------------------------------------------------------------------------


def counting(horizon: int = 4) -> Plan:
    points = torch.arange(1.0, horizon + 1).reshape(horizon, 1)
    plan = Plan.at(points)
    return Plan(plan.best, plan.value, torch.stack([points, -points]), plan.ok, 1)


@pytest.mark.parametrize(("fill", "tail"), [("repeat", [4.0, 4.0]), ("zero", [0.5, 0.5]), ("center", [3.0, 3.0])])
def test_shift_moves_everything(fill: Any, tail: list[float]) -> None:
    box = Box(torch.full((4, 1), 0.5), torch.full((4, 1), 5.5))  # zero, projected, is 0.5
    moved = shift(counting(), 2, fill, box)
    assert moved.best.flatten().tolist() == [3, 4, *tail]
    assert moved.elites[0].flatten().tolist() == [3, 4, *tail]


@pytest.mark.parametrize("steps", [0, 1, 4, 9])
def test_shift_keeps_the_shape(steps: int) -> None:
    moved = shift(counting(), steps)
    expected = [min(t + steps, 4) for t in range(1, 5)]
    assert moved.best.flatten().tolist() == expected


def test_shift_of_a_batch() -> None:
    plan = Plan.at(torch.arange(24.0).reshape(2, 3, 4), (2,))
    assert torch.equal(shift(plan).best, torch.cat([plan.best[:, 1:], plan.best[:, -1:]], 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fill": "mean"}, "shift: fill: expected 'repeat' or 'zero' or 'center', got 'mean'"),
        ({"fill": "center"}, "shift: expected the space that the plan is in, with fill 'center'"),
        ({"steps": -1}, "shift: steps: expected an integer of at least 0, got -1"),
    ],
)
def test_shift_names_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shift(counting(), **arguments)


# --- CEM --------------------------------------------------------------------------------------------------------------


def test_cem_over_a_q_function() -> None:
    """CGP's Algorithm 1: two iterations of 64, a tanh, for every state of a batch at once."""
    state = torch.linspace(-0.8, 0.8, 32)[:, None]
    cem = CEM(samples=64, iterations=2, elites=6, alpha=1.0, spread=1.0, distribution=TanhNormal())
    plan = cem.plan(lambda a: -(a - state[:, None]).square().sum(-1), Box([-1.0], [1.0]), batch=(32,), rng=rng())
    assert plan.best.shape == (32, 1)
    assert (plan.best - state).abs().max() < 0.1


def test_the_mean_as_an_answer_does_not_chase_noise() -> None:
    """With a noisy objective, the best value seen is much too high. The mean's value is not."""
    source = rng()

    def noisy(x: Tensor) -> Tensor:
        return bumps(x) + 3 * torch.randn(x.shape[:-2], generator=source)

    best, mean = (CEM(answer=answer).plan(noisy, BOX, rng=rng(1)) for answer in ("best", "mean"))  # type: ignore[arg-type]
    assert bumps(mean.best) > bumps(best.best)
    assert torch.equal(mean.best, BOX.project(mean.state[0]))  # type: ignore[index]


def test_a_mean_that_is_as_good_as_the_start_answers() -> None:
    """A plateau teaches nothing. The answer is the last plan's mean, not its best."""
    cem = CEM(answer="mean", warm="mean")
    start = cem.plan(bumps, BOX, rng=rng())
    moved = replace(start, best=BOX.project(start.best + 0.5))
    assert start.state is not None
    plan = cem.plan(lambda x: torch.zeros(x.shape[:-2]), BOX, moved, rng=rng())
    assert torch.equal(plan.best, BOX.project(start.state[0]))


def test_predictive_sampling_keeps_the_last_plan() -> None:
    """The given plan is itself a candidate."""
    recorder, start = Recorder(), Plan.at(torch.full((6, 2), 0.25))
    PredictiveSampling(samples=5).plan(recorder, BOX, start, rng=rng())
    assert (recorder.asked[0] == start.best).all((-1, -2)).sum() == 1


# --- iCEM -------------------------------------------------------------------------------------------------------------


def test_icem_population_decays_to_twice_the_elites() -> None:
    recorder = Recorder()
    ICEM(samples=40, elites=8, iterations=6, decay=1.25, carry=0.0).plan(recorder, BOX, rng=rng())
    assert [len(x) for x in recorder.asked] == [40, 32, 25, 20, 16, 16 + 1]  # with the mean in the last iteration


def test_icem_carries_the_best_elites_within_a_plan() -> None:
    recorder = Recorder()
    ICEM(samples=20, elites=10, iterations=3, carry=0.3).plan(recorder, BOX, rng=rng())
    for before, after in zip(recorder.asked, recorder.asked[1:], strict=False):
        best_three = before[bumps(before).topk(3).indices]
        assert torch.equal(after[20:23], best_three)


def test_icem_carries_shifted_elites_between_plans() -> None:
    icem = ICEM(samples=20, elites=10, carry=0.5)
    start = shift(icem.plan(bumps, BOX, rng=rng()), space=BOX)
    recorder = Recorder()
    icem.plan(recorder, BOX, start, rng=rng(1))
    assert torch.equal(recorder.asked[0][20:], start.elites[:5])
    assert torch.equal(recorder.asked[0], BOX.project(recorder.asked[0]))


def test_icem_tries_the_mean_last() -> None:
    """For a concave objective, the mean is the last candidate of the last iteration and among its best."""
    recorder = Recorder()
    plan = ICEM(alpha=1.0, iterations=2, samples=50, elites=50, carry=0.0).plan(recorder, BOX, rng=rng())
    assert torch.allclose(recorder.asked[-1][-1], recorder.asked[0].mean(0), atol=1e-5)
    assert plan.ok


# --- CEM-GD and Grad-CEM ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_search", ["sequential", "batched"])
def test_cem_gd_samples_as_the_paper_says(line_search: Any) -> None:
    """First N_init = 5 × 3000, then N_r = 5 × 10 and the last plan itself, then the gradient for one sequence."""
    recorder = Recorder()
    planner = CEMGD(cold=CEM(samples=3000, elites=300), ascent=GradientAscent(line_search=line_search))
    calls = {1} if line_search == "sequential" else {1, 7}  # the first trial, and the other seven
    plan = planner.plan(recorder, BOX, rng=rng())
    assert [len(x) for x in recorder.asked[:5]] == [3000] * 5
    assert {len(x) for x in recorder.asked[5:]} <= calls
    assert plan.evaluations == sum(len(x) for x in recorder.asked)
    recorder.asked.clear()
    planner.plan(recorder, BOX, shift(plan, space=BOX), rng=rng())
    assert [len(x) for x in recorder.asked[:5]] == [11, 10, 10, 10, 10]
    assert {len(x) for x in recorder.asked[5:]} <= calls
    assert 2 <= len(recorder.asked[5:]) <= 10 * (1 + 8)


def test_cem_gd_has_one_distribution() -> None:
    """Both searches draw from it, so a warm search can use a cold one's state."""
    for cut in (0.5, 2.0):
        recorder, normal = Recorder(), TruncatedNormal(cut)
        planner = CEMGD(CEM(samples=200, distribution=normal), CEM(samples=10, elites=1, distribution=normal))
        plan = planner.plan(recorder, BOX, rng=rng())
        assert recorder.asked[0].abs().max() <= 0.5 * cut
        planner.plan(recorder, BOX, plan, rng=rng())
        assert plan.by == normal
    with pytest.raises(ValueError, match="CEMGD: expected one distribution for both searches"):
        CEMGD(cold=CEM(distribution=TruncatedNormal(1.0)))


def test_cem_gd_is_cem_then_ascent() -> None:
    cem, ascent = CEM(samples=50, elites=10), GradientAscent(starts=3)
    composed = CEMGD(cold=cem, ascent=ascent, top_k=3).plan(bumps, BOX, rng=rng())
    found = cem.plan(bumps, BOX, rng=rng())
    climbed = ascent.plan(bumps, BOX, found)
    assert torch.equal(composed.best, climbed.best)
    assert torch.equal(composed.elites[:3], climbed.elites)
    assert composed.value > found.value


def test_grad_cem_with_no_gradient_to_follow_is_cem() -> None:
    """On a plateau no step improves, so the result equals CEM with the same draws."""

    def plateau(x: Tensor) -> Tensor:
        return x.sum((-1, -2)).detach().round() + 0 * x.sum((-1, -2))

    cem = CEM(samples=20)
    assert torch.equal(GradCEM(cem).plan(plateau, BOX, rng=rng()).best, cem.plan(plateau, BOX, rng=rng()).best)


# --- plans of a batch -------------------------------------------------------------------------------------------------


def test_rows_of_a_plan_are_merged_with_all_they_have() -> None:
    """Row 1 of three is from another search: its elites in order, its state, as many elites as the smaller one."""
    whole = CEM(samples=20, elites=6).plan(bumps, BOX, batch=(3,), rng=rng())
    part = CEM(samples=20, elites=4).plan(bumps, BOX, batch=(1,), rng=rng(1))
    merged = whole.merged(part, torch.tensor([1]))
    assert torch.equal(merged.elites[1], part.elites[0])
    assert torch.equal(merged.elites[[0, 2]], whole.elites[[0, 2], :4])
    assert torch.equal(merged.best[1], part.best[0])
    assert merged.state is not None
    assert whole.state is not None
    assert part.state is not None
    for mine, first, second in zip(merged.state, whole.state, part.state, strict=True):
        assert torch.equal(mine[1], second[0])
        assert torch.equal(mine[[0, 2]], first[[0, 2]])
    other = CEM(distribution=TanhNormal()).plan(bumps, BOX, batch=(1,), rng=rng())
    assert whole.merged(other, torch.tensor([1])).state is None, "of two distributions there is no one state"
