"""Drawings: the sizes, the phases, and an angle without jumps."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elites.agents import PETS, PETSConfig
from elites.runs import Pictures, Status, Summary
from elites.runs.foreseen import Foreseen, foreseen
from elites.runs.pictures import predictions, returns
from elites.runs.schedule import Episodes

TURN = 2 * np.pi


@dataclass
class Task:
    angles: tuple[int, ...] = (1,)


class Wheel:
    """A stand-in for PETS with 10 transitions of a wheel, in [0, 2π), which turns by 1.5 at every step."""

    task, config = Task(), PETSConfig(horizon=4)
    replay = range(30)  # the last 10 are the episode
    observed = 2

    def predict(self, start: int, steps: int) -> tuple[Any, Any]:
        assert start >= 20
        assert start + steps <= 30
        at = 1.5 * np.arange(start + 1, start + steps + 1)
        angle = np.unwrap(at % TURN)
        came = np.stack([at, angle], 1)
        return came, came[None] + np.array([-0.1, 0.3])[:, None, None] * np.array([1.0, 4.0])


def test_an_angle_goes_on_from_one_segment_to_the_next() -> None:
    found = foreseen(Wheel(), 10)  # type: ignore[arg-type]
    assert [steps.tolist() for steps, *_ in found.segments] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert np.allclose(np.diff(found.came[:, 1]), 1.5)
    for _, came, particles in found.segments:
        assert particles.shape == (2, len(came), 2)
        assert np.allclose(particles - came, [[[-0.1, -0.4]], [[0.3, 1.2]]])
    assert np.allclose(found.spread, 9 * 1.5)
    assert found.size == 2
    assert found.worst(1).tolist() == [1]
    assert found.worst(2).tolist() == [0, 1]


def test_the_entries_that_are_foreseen_worst() -> None:
    came = np.array([[0.0, 0.0, 0.0, 5.0], [2.0, 10.0, 1.0, 5.0]])
    particles = came + np.array([[[1.0, 1.0, np.nan, 0.0]], [[3.0, -1.0, 0.0, 0.0]]])  # mean errors of 2, 0, none, 0
    found = Foreseen([(np.arange(2), came, particles)])
    assert found.worst(1).tolist() == [2]  # NaN is the worst
    assert found.worst(2).tolist() == [0, 2]
    assert found.spread.tolist() == [2.0, 10.0, 1.0, 1e-6]


def segment(first: int, errors: list[list[float]]) -> Any:
    """errors: (T, S), of the particles' mean. The real entries go from 0 to 1 and from 0 to 10 in the first segment."""
    came = np.zeros((len(errors), 2))
    if first == 1:
        came[-1] = [1.0, 10.0]
    return np.arange(first, first + len(came)), came, (came + errors)[None] + np.array([-1.0, 1.0])[:, None, None]


def test_the_segments_from_the_one_foreseen_best_on() -> None:
    """Errors are in units of an entry's spread, 1 and 10. A segment that the episode's end cuts short is left out."""
    errors: list[list[list[float]]] = [[[0.5, 0], [0.5, 0]], [[0, 4], [0, 0]], [[np.nan, 0], [0, 0]], [[0, -3], [0, 3]]]
    found = Foreseen([segment(2 * i + 1, error) for i, error in enumerate([*errors, [[0, 0]]])])
    assert np.allclose(found.errors, [[0.5, 0], [0, 0.2], [np.inf, 0], [0, 0.3], [0, 0]])
    assert [steps.tolist() for steps, *_ in found.ranked()] == [[3, 4], [7, 8], [1, 2], [5, 6]]


def test_every_step_counts_alike_for_an_entry() -> None:
    """The first entry's errors are 1, 1 and 0; the second's are 0, 0 and 15 of 10, which would be worse by segments."""
    found = Foreseen([segment(1, [[1, 0], [1, 0]]), segment(3, [[0, 15]])])
    assert found.worst(1).tolist() == [0]


def size_of(path: Path) -> tuple[int, int]:
    """The size of a PNG."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


class Run:
    """The parts of a Watched that pictures use."""

    env, seed, schedule = "Walk-v0", 3, Episodes(1, 3)
    spec = best = None

    def __init__(self, folder: Path, rows: list[dict[str, Any]], agent: Any = None) -> None:
        self.folder, self.rows, self.agent, self.observers = folder, rows, agent, self
        self.told: list[str] = []

    def tell(self, text: str) -> None:
        self.told.append(text)

    def status(self, status: Status) -> None:
        assert status.text


ROWS = [
    {"episode": 1, "phase": "random", "return": 0, "length": 10},
    {"episode": 2, "phase": "learning", "return": -1, "length": 10},
]


def test_the_sizes_of_the_pictures(tmp_path: Path) -> None:
    run: Any = Run(tmp_path, [*ROWS, {"episode": 3, "phase": "final", "return": 0, "worst": -1, "best": 2}])
    returns(run, tmp_path / "returns.png")
    assert size_of(tmp_path / "returns.png") == (840, 432)
    agent: Any = Wheel()
    predictions(agent, run, tmp_path / "predictions.png")
    assert size_of(tmp_path / "predictions.png") == (1008, 288)  # two entries side by side
    before = sorted(tmp_path.iterdir())
    predictions(agent, Run(tmp_path, ROWS[:1]), tmp_path / "none.png")  # type: ignore[arg-type]
    assert sorted(tmp_path.iterdir()) == before  # nothing was planned, so nothing is drawn


@pytest.mark.parametrize(
    ("entries", "expected"), [(1, (504, 288)), (3, (1512, 288)), (4, (1008, 576)), (11, (1512, 864))]
)
def test_the_grid_of_predictions(tmp_path: Path, entries: int, expected: tuple[int, int]) -> None:
    class Wide(Wheel):
        task = Task(())

        def predict(self, start: int, steps: int) -> tuple[Any, Any]:
            came = np.random.default_rng(start).normal(size=(steps, entries))
            return came, came[None] + 0.1

    agent: Any = Wide()
    predictions(agent, Run(tmp_path, ROWS), tmp_path / "a.png")  # type: ignore[arg-type]
    assert size_of(tmp_path / "a.png") == pytest.approx(expected, abs=1)  # some versions of matplotlib round down


def test_a_users_own_plots_are_left_alone(tmp_path: Path) -> None:
    import matplotlib as mpl

    before, pyplot = mpl.rcParams._get("backend"), "matplotlib.pyplot" in sys.modules  # type: ignore[attr-defined]
    returns(Run(tmp_path, ROWS), tmp_path / "returns.png")  # type: ignore[arg-type]
    assert mpl.rcParams._get("backend") == before  # type: ignore[attr-defined]
    assert ("matplotlib.pyplot" in sys.modules) == pyplot


def summary(finished: bool) -> Summary:
    return Summary("Walk-v0", 0, finished, (), None, None, (), (), 0, 0.0)


def test_a_run_that_was_stopped_is_not_drawn(tmp_path: Path) -> None:
    pictures, run = Pictures(), Run(tmp_path, ROWS)
    pictures.began(run)  # type: ignore[arg-type]
    pictures.status(Status("learning", 0, 0, 0.0))
    for finished in (False, True):
        pictures.ended(summary(finished))
        assert (tmp_path / "returns.png").exists() == finished


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, run = Pictures(), Run(tmp_path, ROWS)
    pictures.began(run)  # type: ignore[arg-type]
    pictures.status(Status("learning", 0, 0, 0.0))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    pictures.ended(summary(True))
    assert run.told == ['no plots: they need pip install "elites[runs]"']


def test_a_pets_is_what_predictions_are_of() -> None:
    assert hasattr(PETS, "predict")
