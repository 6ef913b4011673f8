"""CMA-ES by the package `cma`, behind ask and tell."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from elites import Box, Choices, config
from elites.planners import CEM, CMAES, Planner, shift

pytest.importorskip("cma")


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def unit(*shape: int) -> Box:
    return Box(-torch.ones(shape), torch.ones(shape))


def ellipse(optimum: Tensor) -> Any:
    """A quadratic whose axes differ by 1,000 and are turned: (*B, N, D) -> (*B, N)."""
    size = optimum.shape[-1]
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=rng(9)))
    scale = 10 ** (3 * torch.arange(size) / (size - 1))
    return lambda x: -(((x - optimum.unsqueeze(-2)) @ turn).square() * scale).sum(-1)


def test_it_learns_a_turned_ellipse_and_cem_does_not() -> None:
    objective, box = ellipse(torch.full((10,), 0.3)), unit(10)
    found = CMAES(samples=10, iterations=300).plan(objective, box, rng=rng())
    cem = CEM(samples=10, elites=3, iterations=300).plan(objective, box, rng=rng())
    assert found.evaluations == cem.evaluations == 3000
    assert found.value > -1e-6
    assert cem.value < -0.1


def test_a_batch_has_a_strategy_for_each_problem() -> None:
    optimum = torch.rand(3, 4, generator=rng(1)) - 0.5
    plan = CMAES(iterations=80).plan(ellipse(optimum), unit(4), batch=(3,), rng=rng())
    torch.testing.assert_close(plan.best, optimum, atol=1e-2, rtol=0)
    assert plan.state is not None
    assert plan.state[1].shape == (3, 4)
    assert (plan.state[1] < 0.2).all()


def test_equal_seeds_give_equal_bits_and_leave_the_global_generators_alone() -> None:
    before = np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    plans = [CMAES().plan(ellipse(torch.zeros(4)), unit(4), rng=rng(seed)) for seed in (5, 5, 6)]
    assert torch.equal(plans[0].best, plans[1].best)
    assert not torch.equal(plans[0].best, plans[2].best)
    assert np.random.get_state()[1].tolist() == before[0]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_a_search_under_way_is_saved() -> None:
    objective = ellipse(torch.full((5,), 0.2))
    searches = [CMAES(samples=6, iterations=20).begin(unit(5), rng=rng(seed)) for seed in (1, 2)]
    for number in range(20):
        if number == 7:
            searches[0].ask()
            searches[1].load_state_dict(searches[0].state_dict())
        for search in searches if number >= 7 else searches[:1]:
            asked = search.asked
            search.tell(objective(search.ask() if asked is None else asked))
    assert torch.equal(searches[0].plan.best, searches[1].plan.best)
    assert all(search.done for search in searches)


def test_moved_candidates_are_learned_from() -> None:
    searches = [CMAES(samples=8, iterations=3).begin(unit(4), rng=rng()) for _ in range(2)]
    for search, moved in zip(searches, (False, True), strict=True):
        points = search.ask()
        search.tell(-points.square().sum(-1), 0.5 * points + 0.3 if moved else None)
    assert not torch.allclose(searches[0].state[0], searches[1].state[0], atol=1e-2)
    assert searches[1].state[0].mean() > searches[0].state[0].mean()


def test_bytes_that_are_no_strategy_do_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    search = CMAES(samples=6).begin(unit(3), rng=rng())
    search.ask()
    state = search.state_dict()
    state["strategies"] = torch.frombuffer(bytearray(pickle.dumps([Evil()])), dtype=torch.uint8)
    with pytest.raises(ValueError, match="CMAES: expected a strategy of cma, got pathlib"):
        search.load_state_dict(state)
    assert not (tmp_path / "ran").exists()


def test_a_warm_start_is_never_worse_and_candidates_stay_inside() -> None:
    box, seen = Box([0.0, -1.0, 2.0], [0.0, 3.0, 2.5]).repeat(2), []  # one side is empty

    def objective(x: Tensor) -> Tensor:
        seen.append(x)
        return 5 * x.sum((-1, -2))

    cold = CMAES(iterations=3).plan(objective, box, rng=rng())
    warm = CMAES(iterations=1).plan(objective, box, cold, rng=rng(1))
    shifted = CMAES(iterations=2).plan(objective, box, shift(warm, 1, space=box), rng=rng(2))
    assert warm.value >= cold.value
    assert warm.evaluations == cold.evaluations // 3 + 1
    assert shifted.best.shape == (2, 3)
    assert all(torch.equal(x, box.project(x)) for x in seen)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1.0])
def test_values_that_teach_nothing_leave_the_search_as_it_is(value: float) -> None:
    search = CMAES(samples=5, iterations=3).begin(unit(3), rng=rng())
    mean, std = search.state
    search.tell(torch.full((len(search.ask()),), value))
    assert torch.equal(search.state[0], mean)
    torch.testing.assert_close(search.state[1], std)
    values = torch.tensor([1.0, torch.nan, 2.0, -torch.inf, 0.0])
    search.ask()
    search.tell(values)
    assert search.state[0].isfinite().all()
    assert not torch.equal(search.state[0], mean)


def test_wrong_things_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="CMAES: expected a Box"):
        CMAES().begin(Choices((3,)))
    assert isinstance(config.build(Planner, {"name": "cma_es", "samples": 7}, "planner"), CMAES)  # type: ignore[type-abstract]
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(ValueError, match=r"expected the package cma; pip install 'elites\[cma\]'"):
        CMAES().begin(unit(3))
