"""A search driven by ask and tell: the same bits as `plan`, saved halfway, stopped early; and its errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from elites import Box
from elites.planners import CEM, ICEM, MPPI, PLANNERS, Blend, Plan, SamplingPlanner, Search, TanhNormal, shift

BOX = Box(-torch.ones(6, 2), torch.ones(6, 2))
SAMPLING = [name for name, kind in PLANNERS.items() if issubclass(kind, SamplingPlanner)]
CASES: list[Any] = [PLANNERS[name]() for name in SAMPLING if name != "blend"]
CASES += [Blend(share=0.0), CEM(answer="mean"), CEM(distribution=TanhNormal(), warm="mean"), ICEM(carry=0.0)]


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def rugged(x: Tensor) -> Tensor:
    return (torch.cos(9 * x + 1) - (x - 0.3).square() + 0.5 * torch.sin(7 * x.roll(1, -2)) * x).sum((-1, -2))


def same(a: Plan, b: Plan) -> bool:
    mine, others = ((p.best, p.value, p.elites, p.ok, *(p.state or ())) for p in (a, b))
    return a.evaluations == b.evaluations and all(map(torch.equal, mine, others))


def driven(search: Search) -> Plan:
    while not search.done:
        search.tell(rugged(search.ask()))
    return search.plan


@pytest.fixture(params=CASES, ids=lambda planner: f"{type(planner).__name__}")
def planner(request: pytest.FixtureRequest) -> SamplingPlanner:
    found: SamplingPlanner = request.param
    return found


@pytest.mark.parametrize("batch", [(), (3,)])
def test_it_is_what_plan_does(planner: SamplingPlanner, batch: tuple[int, ...]) -> None:
    """Bit for bit the same, cold and then warm, from the same generator."""
    inside, outside = rng(), rng()
    cold = planner.plan(rugged, BOX, batch=batch, rng=inside)
    assert same(cold, driven(planner.begin(BOX, batch=batch, rng=outside)))
    start = shift(cold, 1, space=BOX)
    warm = planner.plan(rugged, BOX, start, batch=batch, rng=inside)
    assert same(warm, driven(planner.begin(BOX, start, batch=batch, rng=outside)))


@pytest.mark.parametrize("asked", [False, True])
def test_a_search_is_saved_in_the_middle_and_gone_on_with(planner: SamplingPlanner, asked: bool) -> None:
    start = shift(planner.plan(rugged, BOX, batch=(2,), rng=rng(4)), space=BOX)
    expected = planner.plan(rugged, BOX, start, batch=(2,), rng=rng())
    rounds = len(planner.begin(BOX, start, batch=(2,), rng=rng()).samples)
    for told in range(rounds):
        search = planner.begin(BOX, start, batch=(2,), rng=rng())
        for _ in range(told):
            search.tell(rugged(search.ask()))
        points = search.ask() if asked else None
        other = planner.begin(BOX, start, batch=(2,), rng=rng(99))
        other.load_state_dict(search.state_dict())
        if points is not None:
            other.tell(rugged(points))
        assert same(driven(other), expected)


def test_ask_draws_and_tell_does_not(planner: SamplingPlanner) -> None:
    source = rng()
    search = planner.begin(BOX, rng=source)
    points = search.ask()
    before = source.get_state()
    search.tell(rugged(points))
    assert torch.equal(source.get_state(), before)


def test_stop_makes_the_next_ask_the_last(planner: SamplingPlanner) -> None:
    """Before the first tell, one round runs. After it, at most the mean is asked for."""
    for told in range(3):
        search = planner.begin(BOX, rng=rng())
        for _ in range(told):
            if not search.done:
                search.tell(rugged(search.ask()))
        search.stop()
        asks = 0
        while not search.done:
            asks += 1
            search.tell(rugged(search.ask()))
        mean = search.answer == "mean"
        assert asks == (1 if told == 0 else 0) + mean
        assert search.plan.ok


def test_values_can_be_told_by_hand() -> None:
    search = CEM(samples=4, elites=2, iterations=1).begin(Box([-1.0], [1.0]), rng=rng())
    points = search.ask()
    search.tell([0.0, 1.0, math.nan, 0.5])
    assert torch.equal(search.plan.best, points[1])
    assert search.plan.value == 1
    assert search.done


def test_points_that_were_moved_are_what_is_learned_from() -> None:
    search = CEM(samples=4, elites=1, iterations=1, alpha=1.0).begin(Box([-1.0], [1.0]), rng=rng())
    search.tell(torch.tensor([0.0, 1.0, 0.0, 0.0]), search.ask() * 0 + 0.25)
    assert search.plan.best.item() == 0.25
    assert search.state[0].item() == 0.25


def test_no_tail_is_lost_before_a_tanh() -> None:
    """A candidate at tanh(4): the way back from points ends at tanh⁻¹(0.99) = 2.6, but the search learns from 4."""
    search = CEM(samples=1, elites=1, iterations=1, alpha=1.0, distribution=TanhNormal()).begin(Box([-1.0], [1.0]))
    search.ask()
    assert search._asked is not None
    search._asked = torch.tensor([[4.0]]), torch.tensor([[4.0]]).tanh()
    search.tell([1.0])
    assert search.state[0].item() == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(3), r"^tell: expected values of shape \(4,\), torch.float32 on cpu"),
        (torch.zeros(4, 1), r"^tell: expected values of shape \(4,\)"),
        (torch.zeros(4).double(), r"^tell: expected .*got .*torch.float64"),
        ([1.0], r"^tell: expected values of shape \(4,\)"),
    ],
)
def test_wrong_values_are_refused(values: Any, message: str) -> None:
    search = CEM(samples=4, elites=2).begin(BOX, rng=rng())
    search.ask()
    with pytest.raises(ValueError, match=message):
        search.tell(values)
    search.tell(torch.arange(4.0))  # nothing was lost


def test_out_of_turn() -> None:
    search = CEM(samples=4, elites=2, iterations=1).begin(BOX, rng=rng())
    with pytest.raises(ValueError, match=r"^tell: expected ask first"):
        search.tell(torch.zeros(4))
    with pytest.raises(ValueError, match=r"^plan: expected at least one tell"):
        _ = search.plan
    search.ask()
    with pytest.raises(ValueError, match=r"^ask: expected tell first"):
        search.ask()
    with pytest.raises(ValueError, match=r"^tell: expected points of shape \(4, 6, 2\), got \(2, 6, 2\)"):
        search.tell(torch.zeros(4), torch.zeros(2, 6, 2))
    search.tell(torch.arange(4.0))
    with pytest.raises(ValueError, match=r"^ask: expected a search that is not done"):
        search.ask()


@pytest.mark.parametrize("name", sorted(PLANNERS.keys() - set(SAMPLING)))
def test_planners_that_need_gradients_say_so(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a planner that only samples; .* needs gradients: call plan"):
        PLANNERS[name]().begin(BOX)


def test_an_argument_that_was_renamed_is_answered_with_its_new_name() -> None:
    with pytest.raises(TypeError, match=r"Solver.plan: 'box' is now called 'space'"):
        MPPI().plan(rugged, box=BOX)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"CEM: 'proposal' is now called 'distribution'"):
        CEM(proposal=TanhNormal())  # type: ignore[call-arg]
