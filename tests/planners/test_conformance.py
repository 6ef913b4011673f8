"""The rules for every planner, including a user's own."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from elites import Box, config
from elites.fields import hints
from elites.planners import (
    CEMGD,
    DISTRIBUTIONS,
    NOISES,
    PLANNERS,
    Categorical,
    GradCEM,
    GradientAscent,
    Plan,
    Planner,
    shift,
)

VARIANTS = {"cem with a memory": {"name": "cem", "memory": {}}}
NAMES = [*PLANNERS, *VARIANTS, "rank_weighted:RankWeighted"]
TENSORS = ("best", "value", "elites", "ok")
SHAPES = [(4, 2), (3,), (5, 1)]


def made(name: str, **fields: Any) -> Planner:
    return config.build(Planner, {"name": name, **VARIANTS.get(name, {}), **fields})


def unit_box(*shape: int, dtype: torch.dtype = torch.float32) -> Box:
    return Box(-torch.ones(shape, dtype=dtype), torch.ones(shape, dtype=dtype))


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def bowl(optimum: Tensor, batch: tuple[int, ...] = ()) -> Callable[[Tensor], Tensor]:
    """-20 |x - optimum|², with an optimum (*B, *E) for every problem."""
    axis = len(batch)
    return lambda x: -20 * (x - optimum.unsqueeze(axis)).square().flatten(axis + 1).sum(-1)


def rugged(x: Tensor) -> Tensor:
    """Smooth, with many optima, for points of two axes and at most one batch axis."""
    return (torch.cos(9 * x + 1) - (x - 0.3).square() + 0.5 * torch.sin(7 * x.roll(1, -2)) * x).sum((-1, -2))


def tensors(plan: Plan) -> dict[str, Tensor]:
    """All tensors of a plan, including its state."""
    return {name: getattr(plan, name) for name in TENSORS} | dict(enumerate(plan.state or ()))  # type: ignore[arg-type]


def same(a: Plan, b: Plan) -> bool:
    mine, others = tensors(a), tensors(b)
    return mine.keys() == others.keys() and all(torch.equal(mine[n], others[n]) for n in mine)


def state_is_finite(plan: Plan) -> bool:
    return all(bool(x.isfinite().all()) for x in plan.state or ())


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def planner(name: str) -> Planner:
    return made(name)


# --- it finds the optimum ---------------------------------------------------------------------------------------------


# A constant spread limits the precision, so these planners get a small one. Random shooting has no spread.
PRECISE: dict[str, dict[str, Any]] = {
    "random_shooting": {"samples": 5000},
    "predictive_sampling": {"spread": 0.15, "iterations": 5},
    "mppi": {"spread": 0.15},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("shape", SHAPES)
def test_analytic_optimum(name: str, shape: tuple[int, ...], batch: tuple[int, ...], dtype: torch.dtype) -> None:
    planner, box = made(name, **PRECISE.get(name, {})), unit_box(*shape, dtype=dtype)
    optimum = torch.rand(*batch, *shape, generator=rng(1), dtype=dtype) * 1.6 - 0.8
    objective, source = bowl(optimum, batch), rng()
    plan = None
    for _ in range(15):
        plan = planner.plan(objective, box, plan, batch=batch, rng=source)
    assert plan is not None
    distance = (plan.best - optimum).flatten(len(batch)).square().mean(-1).sqrt()  # in half widths, per entry
    assert (distance < (0.3 if name == "random_shooting" else 0.05)).all()
    assert plan.ok.all()
    assert plan.best.dtype == plan.value.dtype == dtype
    assert plan.best.shape == (*batch, *shape)
    assert all(x.dtype == dtype and x.shape[: len(batch)] == batch for x in plan.state or ())
    assert plan.value.shape == plan.ok.shape == batch
    assert plan.elites.shape[len(batch) + 1 :] == shape


def test_optimum_on_the_bound(planner: Planner) -> None:
    """The maximum of a linear objective is a corner of the box."""
    box, source, plan = unit_box(2, 2), rng(), None
    for _ in range(15):
        plan = planner.plan(lambda x: 10 * x.sum((-1, -2)), box, plan, rng=source)
    assert plan is not None
    assert plan.value > 0.7 * 40


def test_value_is_the_objective_at_best(planner: Planner) -> None:
    plan = planner.plan(rugged, unit_box(6, 2), rng=rng())
    assert torch.allclose(rugged(plan.best.unsqueeze(0)).squeeze(0), plan.value)


def test_elites_come_best_first(planner: Planner) -> None:
    plan = planner.plan(rugged, unit_box(6, 2), rng=rng())
    values = rugged(plan.elites)
    assert (values.diff() <= 1e-5).all()


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(
    corners=st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0, 1e3)), min_size=3, max_size=3),
    slope=st.floats(-100, 100),
    seed=st.integers(0, 99),
)
def test_bounds_are_kept(name: str, corners: list[tuple[float, float]], slope: float, seed: int) -> None:
    """For any box, also with empty sides: no candidate, elite or answer is outside, even under a strong pull."""
    low = torch.tensor([low for low, _ in corners])
    box, planner = Box(low, low + torch.tensor([width for _, width in corners])).repeat(4), made(name)

    def objective(x: Tensor) -> Tensor:
        assert (x >= box.low).all()
        assert (x <= box.high).all()
        return slope * x.sum((-1, -2))

    plan = None
    for _ in range(2):
        plan = planner.plan(objective, box, plan and shift(plan, 1, space=box), rng=rng(seed))
        for points in (plan.best, plan.elites):
            assert torch.equal(points, box.project(points))
        assert state_is_finite(plan)


def test_unbounded_box(planner: Planner) -> None:
    box = Box(torch.full((3,), -math.inf), torch.full((3,), math.inf))
    plan, source = None, rng()
    for _ in range(15):
        plan = planner.plan(bowl(torch.tensor([0.5, -1.0, 1.5])), box, plan, rng=source)
    assert plan is not None
    assert plan.value > -20 * 3.5 * 0.1


def test_a_mean_on_the_bound_moves(planner: Planner) -> None:
    box, source = unit_box(4, 2), rng()
    objective = bowl(torch.zeros(4, 2))
    plan = Plan.at(box.high)
    before = objective(box.high.unsqueeze(0))
    for _ in range(15):
        plan = planner.plan(objective, box, plan, rng=source)
    assert plan.value > 0.5 * before


# --- warm starts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_never_worse_than_a_warm_start(planner: Planner, seed: int) -> None:
    box = unit_box(6, 2)
    start = Plan.at(torch.rand(3, 6, 2, generator=rng(seed)) * 2 - 1, (3,))
    plan = planner.plan(rugged, box, start, batch=(3,), rng=rng(seed))
    assert (plan.value >= rugged(start.best)).all()


def test_never_worse_than_an_optimal_start_on_the_bound(planner: Planner) -> None:
    box = unit_box(6, 2)
    plan = planner.plan(lambda x: x.sum((-1, -2)), box, Plan.at(box.high), rng=rng())
    assert plan.value == 12


def test_a_warm_start_outside_or_not_finite_is_made_safe(planner: Planner) -> None:
    box = unit_box(6, 2)
    guess = torch.full((6, 2), 5.0)
    guess[2] = torch.nan
    for objective in (lambda x: x.sum((-1, -2)), lambda x: x.sum((-1, -2)) * math.nan):  # outside is better; all NaN
        plan = planner.plan(objective, box, Plan.at(guess), rng=rng())
        assert torch.equal(plan.best, box.project(plan.best))
        assert torch.equal(plan.elites, box.project(plan.elites))
        assert state_is_finite(plan)


# --- values that are not finite ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_bad_values_are_never_chosen(planner: Planner, bad: float) -> None:
    """Half of the space is bad, and would be the better half."""
    box, good = unit_box(4, 2), bowl(torch.full((4, 2), -0.5))

    def objective(x: Tensor) -> Tensor:
        return torch.where(x[..., 0, 0] > 0, torch.full_like(x[..., 0, 0], bad), good(x) + 100 * x[..., 0, 0])

    plan, source = None, rng(3)
    for _ in range(5):
        plan = planner.plan(objective, box, plan, rng=source)
        assert plan.ok
        assert plan.value.isfinite()
        assert plan.best[0, 0] <= 0
        assert state_is_finite(plan)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nothing_finite_at_all(planner: Planner, bad: float) -> None:
    box = unit_box(4, 2)

    def objective(x: Tensor) -> Tensor:
        return x.sum((-1, -2)) * bad

    cold = planner.plan(objective, box, batch=(2,), rng=rng())
    assert not cold.ok.any()
    assert torch.equal(cold.best, box.centre.expand(2, 4, 2))
    start = Plan.at(torch.rand(2, 4, 2, generator=rng(1)), (2,))
    warm = planner.plan(objective, box, start, batch=(2,), rng=rng())
    assert not warm.ok.any()
    assert torch.equal(warm.best, start.best)
    assert state_is_finite(warm)
    again = planner.plan(rugged, box, warm, batch=(2,), rng=rng())  # no trace of it is left
    assert again.ok.all()


# --- rows, seeds, state -----------------------------------------------------------------------------------------------


def test_rows_do_not_influence_each_other(planner: Planner) -> None:
    """Rows 0 and 2 have the same bits for all contents of row 1."""
    box = unit_box(6, 2)

    def with_row_1(change: Callable[[Tensor], Tensor]) -> Plan:
        def objective(x: Tensor) -> Tensor:
            values = rugged(x)
            return torch.stack([values[0], change(values[1]), values[2]])

        plan = None
        source = rng()
        for _ in range(3):
            plan = planner.plan(objective, box, plan, batch=(3,), rng=source)
        assert plan is not None
        return plan

    plain, poisoned = with_row_1(lambda v: v), with_row_1(lambda v: v * math.nan)
    for row in (0, 2):
        assert same(plain.map(lambda x: x[row]), poisoned.map(lambda x: x[row]))  # noqa: B023


def test_batched_equals_looped_under_shared_noise(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven problems at once, or one by one, with the same draws."""
    box, batch = unit_box(6, 2), 7
    optimum = torch.rand(batch, 6, 2, generator=rng(1)) - 0.5
    cold = planner.plan(rugged, box, rng=rng())
    starts = cold.map(lambda x: x.expand(batch, *x.shape))
    for draw in ("randn", "rand"):
        original = getattr(torch, draw)

        def shared(*shape: int, original: Any = original, **options: Any) -> Tensor:
            return original(*shape[1:], **options).expand(*shape) if shape[0] == batch else original(*shape, **options)

        monkeypatch.setattr(torch, draw, shared)
    for start, rows in ((None, [None] * batch), (starts, [cold] * batch)):
        together = planner.plan(bowl(optimum, (batch,)), box, start, batch=(batch,), rng=rng())
        for row in range(batch):
            alone = planner.plan(bowl(optimum[row]), box, rows[row], rng=rng())
            assert torch.allclose(together.best[row], alone.best, atol=1e-5)
            assert torch.allclose(together.value[row], alone.value, atol=1e-4)


def test_equal_seeds_equal_bits(planner: Planner) -> None:
    box = unit_box(6, 2)

    def run(seed: int) -> Plan:
        source = rng(seed)
        plan = planner.plan(rugged, box, batch=(2,), rng=source)
        return planner.plan(rugged, box, shift(plan, space=box), batch=(2,), rng=source)

    assert same(run(0), run(0))
    assert not same(run(0), run(1))


def test_no_state_is_left_behind(planner: Planner) -> None:
    box = unit_box(6, 2)
    fields, torch_state = repr(planner), torch.get_rng_state()
    first = planner.plan(rugged, box, rng=rng())
    kept = first.map(torch.clone)
    planner.plan(rugged, box, first, rng=rng(1))
    assert same(first, kept), "a warm start was written to"
    assert same(first, planner.plan(rugged, box, rng=rng()))
    assert repr(planner) == fields
    assert torch.equal(torch_state, torch.get_rng_state()), "the global generator was used"
    with pytest.raises(dataclasses.FrozenInstanceError):
        planner.samples = 3  # type: ignore[attr-defined]


def test_without_a_generator(planner: Planner) -> None:
    assert not same(planner.plan(rugged, unit_box(6, 2)), planner.plan(rugged, unit_box(6, 2)))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_under_the_callers_grad_mode(planner: Planner, mode: Any) -> None:
    box = unit_box(6, 2)
    with mode():
        plan = planner.plan(rugged, box, rng=rng())
    assert same(plan, planner.plan(rugged, box, rng=rng()))
    assert not plan.best.requires_grad


def test_nothing_waits_for_the_device(planner: Planner) -> None:
    """On the meta device a tensor has a shape and no value: asking for one (`.item()`, `if tensor`) raises.

    So a plan that runs there has fixed shapes and no device syncs, which is what CUDA needs.
    """
    box = unit_box(6, 2).to(device="meta")
    plan = planner.plan(rugged, box, batch=(3,), rng=rng())
    plan = planner.plan(rugged, box, shift(plan, space=box), batch=(3,), rng=rng())
    assert plan.best.device.type == "meta"
    assert plan.best.shape == (3, 6, 2)


# --- the corners of the hyperparameters -------------------------------------------------------------------------------


def smallest(planner: Any) -> Any:
    """A variant with every count at 1: one sample, one elite, one step."""
    changes = {}
    for field in dataclasses.fields(planner):
        value = getattr(planner, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = smallest(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            changes[field.name] = 1
    return dataclasses.replace(planner, **changes)


@pytest.mark.parametrize("shape", [(1, 2), (6, 2), (1,)])
def test_one_of_everything(planner: Planner, shape: tuple[int, ...]) -> None:
    """One sample and one elite: the variance is not NaN. Horizon 1: correlated noise is not NaN."""
    for tried in (smallest(planner), planner):
        plan, source = None, rng()
        for _ in range(3):
            plan = tried.plan(bowl(torch.full(shape, 0.4)), unit_box(*shape), plan, rng=source)
        assert plan is not None
        assert plan.ok
        assert all(x.isfinite().all() for x in (plan.best, plan.elites))
        assert state_is_finite(plan)


def test_a_deadline_of_zero_still_answers(planner: Planner) -> None:
    box = unit_box(6, 2)
    plan = planner.plan(rugged, box, rng=rng(), deadline=0.0)
    assert plan.ok
    assert plan.evaluations >= 1
    assert plan.evaluations <= planner.plan(rugged, box, rng=rng()).evaluations
    start = Plan.at(torch.zeros(6, 2))
    warm = planner.plan(rugged, box, start, rng=rng(), deadline=0.0)
    assert warm.value >= rugged(start.best.unsqueeze(0))


WITHOUT_EFFECT = {
    "line_search": "one by one or all at once, the same step is taken; test_gradient_ascent compares the two",
    "cold.warm": "the cold search has no start",
    "ascent.starts": "of a plan of its own; a composition says itself where the ascent begins",
}


def variants(value: Any) -> Iterator[tuple[str, Any]]:
    """(path, the dataclass with one changed field), for every field at every depth, in several ways."""
    for field in dataclasses.fields(value):
        old = getattr(value, field.name)
        choices: list[Any] = []
        if dataclasses.is_dataclass(old):
            for path, inner in variants(old):
                with contextlib.suppress(ValueError):  # the variant contradicts other fields
                    yield f"{field.name}.{path}", dataclasses.replace(value, **{field.name: inner})
            registry = next((r for r in (DISTRIBUTIONS, NOISES) if type(old) in r.values()), {})
            choices = [cls() for cls in registry.values() if cls not in (type(old), Categorical)]
        elif isinstance(old, bool):
            choices = [not old]
        elif isinstance(old, int):
            choices = [old + 1, old * 2, max(old // 2, 1), 1]
        elif isinstance(old, float):
            choices = [old / 2, old * 2, old + 0.1, old + 1]
        else:
            literal = get_args(hints(type(value))[field.name])
            choices = [choice() if isinstance(choice, type) else choice for choice in literal if choice != old]
            choices = [choice for choice in choices if choice is not None]
        for choice in choices:
            try:
                yield field.name, dataclasses.replace(value, **{field.name: choice})
            except ValueError:
                continue


def steep(x: Tensor) -> Tensor:
    """Steep enough that a line search needs several trials."""
    return 5 * rugged(x)


def outcome(planner: Planner) -> list[Plan]:
    box, source = Box(torch.full((9, 2), -1.5), torch.ones(9, 2)), rng()
    cold = planner.plan(steep, box, rng=source)
    return [cold, planner.plan(steep, box, shift(cold, space=box), rng=source)]


def test_every_hyperparameter_changes_the_outcome(planner: Any) -> None:
    base = outcome(planner)
    by_path = itertools.groupby(variants(planner), key=lambda pair: pair[0])
    seen = set()
    for path, group in by_path:
        seen.add(path.split(".")[0])
        if any(path.endswith(end) for end in WITHOUT_EFFECT):
            continue
        changed = [
            not same(old, new) or old.evaluations != new.evaluations
            for _, variant in group
            for old, new in zip(base, outcome(variant), strict=True)
        ]
        assert any(changed), f"{path} has no effect"
    assert seen == {field.name for field in dataclasses.fields(planner)}


# --- bad input --------------------------------------------------------------------------------------------------------


BOX = unit_box(6, 2)
BAD_OBJECTIVES = {
    "no batch": (lambda x: rugged(x).sum(), r"expected values of shape \(2, \d+\)"),
    "a column": (lambda x: rugged(x).unsqueeze(-1), r"expected values of shape \(2, \d+\)"),
    "another dtype": (lambda x: rugged(x).double(), r"torch\.float32 on cpu .*got .*torch\.float64"),
    "integers": (lambda x: rugged(x).long(), r"torch\.float32 on cpu .*got .*torch\.int64"),
    "not a tensor": (lambda x: rugged(x).detach().numpy(), "expected a tensor .*got ndarray"),
    "nothing": (lambda x: None, "expected a tensor .*got NoneType"),
}


@pytest.mark.parametrize("case", BAD_OBJECTIVES)
def test_a_wrong_objective_is_named(planner: Planner, case: str) -> None:
    objective, message = BAD_OBJECTIVES[case]
    with pytest.raises(ValueError, match=f"^objective: .*{message}"):
        planner.plan(objective, BOX, batch=(2,), rng=rng())


@pytest.mark.parametrize("name", ["gradient_ascent", "cem_gd", "grad_cem"])
@pytest.mark.parametrize(
    "objective", [lambda x: rugged(x.detach()), lambda x: torch.zeros(x.shape[0]), lambda x: rugged(x).round().detach()]
)
def test_an_objective_without_gradient_is_named(planner: Planner, objective: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"^objective: expected values with a gradient"):
        planner.plan(objective, BOX, rng=rng())


def test_what_an_objective_raises_is_unchanged(planner: Planner) -> None:
    class Mine(Exception):
        pass

    error = Mine("of mine")

    def objective(x: Tensor) -> Tensor:
        raise error

    with pytest.raises(Mine) as caught:
        planner.plan(objective, BOX, rng=rng())
    assert caught.value is error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": 3}, "objective: expected a function"),
        ({"space": (-1, 1)}, "space: expected an elites.Space"),
        ({"batch": 2}, "batch: expected a tuple of positive integers, got 2"),
        ({"batch": (0,)}, "batch: expected a tuple of positive integers"),
        ({"start": torch.zeros(6, 2)}, "start: expected a Plan or None"),
        ({"start": Plan.at(torch.zeros(5, 2))}, r"start\.best: expected shape \(6, 2\), .*got \(5, 2\)"),
        ({"start": Plan.at(torch.zeros(6, 2)), "batch": (2,)}, r"start\.best: expected shape \(2, 6, 2\)"),
        ({"start": Plan.at(torch.zeros(6, 2).double())}, "start.best: expected .*float32.*got .*float64"),
        ({"rng": 0}, "rng: expected a torch.Generator on cpu, .*got 0"),
    ],
)
def test_wrong_arguments_are_named(planner: Planner, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planner.plan(**{"objective": rugged, "space": BOX, **arguments})


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("cem", {"samples": 0}, "samples: expected an integer of at least 1, got 0"),
        ("cem", {"elites": 200}, "elites: expected at most samples, got 200 elites of 100 samples"),
        ("icem", {"elites": 200}, "elites: expected at most samples"),
        ("cem", {"iterations": 2.5}, "iterations: expected an integer of at least 1, got 2.5"),
        ("cem", {"alpha": 1.5}, r"alpha: expected a number in \(0, 1\], got 1.5"),
        ("cem", {"spread": math.nan}, "spread: expected a number above 0, got nan"),
        ("mppi", {"temperature": 0}, "temperature: expected a number above 0, got 0"),
        ("icem", {"decay": 0.5}, "decay: expected a number of at least 1, got 0.5"),
        ("gradient_ascent", {"direction": "newton"}, "direction: expected 'gradient' or 'adam', got 'newton'"),
        ("cem_gd", {"top_k": 11}, "top_k: expected at most warm.samples = 10, got 11"),
    ],
)
def test_wrong_hyperparameters_are_named(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLANNERS[name](**fields)


def test_compositions_take_their_parts_as_they_are() -> None:
    with pytest.raises(ValueError, match=r"CEMGD\.cold: expected a CEM, got GradientAscent"):
        CEMGD(cold=GradientAscent())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"GradCEM\.ascent: expected a GradientAscent"):
        GradCEM(ascent=None)  # type: ignore[arg-type]
