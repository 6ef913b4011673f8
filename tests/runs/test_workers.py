"""Workers: the same scores wherever they play, and what happens when one ends badly."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from elites.agents.playing import Scores, Standardiser
from elites.agents.policy_search import Form
from elites.agents.population import Population
from elites.agents.units import Spaces
from elites.networks import Architecture, NormalHead
from elites.runs.faults import Fault
from elites.runs.search_loop import seeds_of
from elites.runs.stages import stage
from elites.runs.workers import Crew, Generation, Here, Task, crew_of
from elites.runs.workers.crew import MOST_DEATHS, EarlyStop
from elites.runs.workers.processes import Processes
from elites.spaces import Box

FORM = Form(Architecture((4,), "tanh"), NormalHead("none", "free"), sampled=True)
SPACES = Spaces.of(2, Box([-1.0], [1.0]))
TOLD: list[str] = []


def task_of(name: str) -> Task:
    return Task(f"small_worlds:{name}-v0", None, FORM.population(SPACES))


def generation_of(population: Population, candidates: int = 7, episodes: int = 2) -> Generation:
    points = torch.randn(candidates, population.size, generator=Generator().manual_seed(0))
    return Generation(points, seeds_of(3, 1, candidates, episodes, False), Standardiser(2))


def play(crew: Crew, early: EarlyStop | None = None) -> Scores:
    return crew.play(generation_of(task_of("Line").population), lambda step, under_way: None, early)


def equal(a: Scores, b: Scores) -> None:
    for of, name in ((Scores, "returns"), (Scores, "lengths")):
        assert isinstance(a, of)
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("count", "total", "square"):
        np.testing.assert_array_equal(getattr(a.seen, name), getattr(b.seen, name))


@pytest.fixture(scope="module")
def alone() -> Scores:
    return play(Here(task_of("Line")))


@pytest.fixture
def told() -> list[str]:
    TOLD.clear()
    return TOLD


def processes(name: str, count: int = 2, **options: Any) -> Processes:
    return Processes(count, task_of(name), TOLD.append, **options)


@pytest.fixture(scope="module")
def three() -> Iterator[Processes]:
    crew = processes("Line", 3)
    yield crew
    crew.close()


def test_processes_give_the_same_scores(alone: Scores, three: Processes) -> None:
    for _ in range(2):  # the environments stay
        equal(play(three), alone)


def test_more_workers_than_candidates(three: Processes) -> None:
    two = generation_of(three.task.population, candidates=2)
    equal(three.play(two, lambda *_: None), Here(three.task).play(two, lambda *_: None))


def test_a_worker_that_was_killed_is_replaced(alone: Scores, three: Processes, told: list[str]) -> None:
    os.kill(three.children[1].process.pid, signal.SIGKILL)
    equal(play(three), alone)
    (line,) = told
    assert line.startswith("worker 2 was killed (SIGKILL), as a system does that is out of memory; its 2 candidates")


def test_a_worker_that_dies_while_it_plays(alone: Scores, told: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SMALL_WORLDS_MARK", str(tmp_path / "mark"))
    crew = processes("Mortal")
    equal(play(crew), alone)
    crew.close()
    assert len(told) in (1, 2), "the other worker can die too before the mark is there"


def test_workers_that_always_die(told: list[str]) -> None:
    crew = processes("Deadly")
    with pytest.raises(
        ValueError, match=rf"after {MOST_DEATHS} other deaths in this generation; fewer workers need less"
    ):
        play(crew)
    assert len(told) == MOST_DEATHS
    assert all(child.process.poll() is not None for child in crew.children)


def test_an_environment_that_hangs_is_given_up() -> None:
    crew = processes("Hanging", patience_s=0.5)
    with pytest.raises(Fault, match=r"a step of small_worlds:Hanging-v0 within 0.5 s, got none from worker 1"):
        play(crew)
    assert all(child.process.poll() is not None for child in crew.children)


def test_an_environment_that_raises_in_a_process() -> None:
    with pytest.raises(Fault, match=r"expected an observation, got RuntimeError: the motor is too hot"):
        play(processes("Hot"))
    with pytest.raises(ValueError, match="env: "):
        play(processes("Unknown"))


@pytest.mark.parametrize("here", [True, False])
def test_early_stop(alone: Scores, three: Processes, here: bool) -> None:
    """The three candidates with the lowest return after two steps stop there, and do not count."""
    scores = play(Here(three.task) if here else three, EarlyStop(2, 0.5))
    stopped = np.isnan(scores.returns).all(1)
    assert stopped.sum() == 3
    np.testing.assert_array_equal(scores.lengths, np.where(stopped[:, None], 2, 6) + 0 * scores.lengths)
    np.testing.assert_array_equal(scores.returns[~stopped], alone.returns[~stopped])
    assert EarlyStop(2, 0.5).kept(np.array([[1.0], [np.nan], [0.0], [2.0]])).tolist() == [True, False, False, True]


def test_numbers_that_are_not_finite_end_an_episode() -> None:
    scores = play(Here(task_of("NaN")))
    assert np.isnan(scores.returns).all()
    assert (scores.lengths == 3).all()
    assert np.isfinite(scores.seen.square).all()


def test_what_a_crew_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"workers: ray://127.0.0.1:9 did not answer within 10 s"):
        crew_of("ray://127.0.0.1:9", task_of("Line"), print)
    with pytest.raises(ValueError, match="Endless-line-v0 does not limit its episodes"):
        stage("small_worlds:Endless-line-v0", 2)
    assert isinstance(crew_of(1, task_of("Line"), print), Here)


@pytest.mark.filterwarnings("ignore")
def test_actors_of_ray(alone: Scores, told: list[str]) -> None:
    """The same scores, also after a worker was killed."""
    pytest.importorskip("ray")
    crew: Any = crew_of("ray", task_of("Line"), told.append)
    equal(play(crew), alone)
    crew.ray.kill(crew.actors[-1])
    equal(play(crew), alone)
    crew.close()
    assert "candidates are played again" in told[0]
