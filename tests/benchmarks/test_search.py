"""benchmarks/search.py: its scores by hand, and its contenders within their budget."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scripts import loaded

from elites import cli
from elites.runs.bench.contenders import cem, ours, planned
from elites.runs.bench.kept import Kept
from elites.runs.bench.problems import STAGES

NAMES = ["random_shooting", "predictive_sampling", "cem", "icem", "mppi", "gradient_ascent", "lbfgs", "cem_gd", "blend"]


@pytest.fixture(scope="module")
def search() -> ModuleType:
    return loaded("benchmarks/search.py")


def test_scores_are_between_the_worst_and_the_best(search: ModuleType) -> None:
    values = {"low": np.array([0.0, 2.0]), "high": np.array([4.0, 6.0]), "between": np.array([2.0, 6.0])}
    assert search.scores(values) == {"low": 0.0, "high": 1.0, "between": 0.75}
    low, high = search.interval(values, "between")
    assert low == 0.5  # if both instances are the first
    assert high == 1.0
    rows = search.summary({("Rosenbrock", "50", "cold"): values}, ["Rosenbrock"])
    assert rows == [("high", 1, 1.0, 1.0, 1.0), ("between", 1, 0.0, 0.75, 0.75), ("low", 1, 0.0, 0.0, 0.0)]


@pytest.mark.parametrize("budget", [50, 500])
@pytest.mark.parametrize("name", NAMES)
def test_a_contender_keeps_its_budget(search: ModuleType, name: str, budget: int) -> None:
    of = search.PROBLEMS["Rosenbrock"]()
    spent = [evaluations for _, evaluations in planned(ours(budget)[name])(of, 0)]
    assert len(spent) == STAGES
    assert max(spent) <= 1.05 * budget


def test_a_small_cell_is_the_mean_of_five_runs(
    search: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "KEPT", Kept(tmp_path / "rows.csv", search.KEPT.fields))
    monkeypatch.setattr(search, "contenders", lambda by, budget: {"cem": (ours(budget)["cem"], planned(cem(budget)))})
    search.run("Rosenbrock", 50, "ours", cli.Screen())
    of = search.PROBLEMS["Rosenbrock"]()
    firsts = [next(planned(cem(50))(of, seed))[0] for seed in range(5)]
    means = torch.stack([of.at(slice(None))[0](point.unsqueeze(1))[:, 0] for point in firsts]).mean(0)
    (row,) = search.KEPT.rows(start="cold")
    np.testing.assert_allclose(np.array(row["values"].split(), float), means, rtol=1e-5)


def test_the_slow_simulator_has_fewer_instances_for_large_plans(search: ModuleType) -> None:
    assert [search.posed("HalfCheetah, simulator", budget).count for budget in (50, 5000)] == [24, 8]


def test_an_instance_alone_has_the_values_of_the_batch(search: ModuleType) -> None:
    for name in ("Rosenbrock", "tracking"):
        of = search.PROBLEMS[name]()
        points = of.space.centre.expand(of.count, 3, *of.space.shape) + 0.1
        for one, every in zip(of.at(slice(4, 5)), of.at(slice(None)), strict=True):
            np.testing.assert_allclose(one(points[4:5])[0], every(points)[4], rtol=1e-4)
