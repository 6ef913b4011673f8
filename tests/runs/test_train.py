"""A run from settings: anywhere, several at once, and what it keeps."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import random
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elites.agents import TD3, Network
from elites.networks.architecture import Architecture
from elites.runs import LearnSettings, Observer, PETSSettings, Status, kinds, settings_of, train
from tests.runs.small import PETS_RUN, RUNS, TD3_RUN, in_turn, returns


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return in_turn(tmp_path_factory.mktemp("in_turn"))


def test_four_runs_in_four_threads(tmp_path: Path, expected: list[Any]) -> None:
    """They leave the global generators alone, and give the same as four runs one by one."""
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]  # noqa: NPY002
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(train, RUNS, [tmp_path / str(i) for i in range(4)]))
    assert [returns(summary) for summary in found] == expected
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]  # noqa: NPY002
    assert after == before


def test_four_runs_in_four_processes(tmp_path: Path, expected: list[Any]) -> None:
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(train, RUNS, [tmp_path / str(i) for i in range(4)]))
    assert [returns(summary) for summary in found] == expected


@pytest.mark.parametrize(("number", "every"), [(0, 50), (2, 9)])
def test_stopped_in_a_thread_and_gone_on_with_in_another(
    tmp_path: Path, expected: list[Any], number: int, every: int
) -> None:
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] % every == 0

    with ThreadPoolExecutor(1) as pool:
        summary = pool.submit(train, RUNS[number], tmp_path / "run", stop=stop).result()
    assert not summary.finished
    assert not (tmp_path / "run/summary.json").exists()
    while not summary.finished:
        summary = train(RUNS[number], tmp_path / "run", resume=True, stop=stop)
    assert returns(summary) == expected[number]
    assert json.loads((tmp_path / "run/summary.json").read_text()) == json.loads(json.dumps(summary.as_dict()))


def test_the_wall_time_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation of 1,000 s counts after a resume too, and does not slow episodes down."""
    clock, later = time.perf_counter, [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock() + later[0])

    class Slow(Observer):
        def status(self, status: Status) -> None:
            if status.phase == "evaluation" and not later[0]:
                later[0] = 1000.0

        def row(self, row: Any) -> None:
            assert row["phase"] != "learning" or row["steps_per_s"] > 1

    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 140

    assert not train(TD3_RUN, tmp_path, observers=[Slow()], stop=stop).finished
    assert later == [1000.0]
    assert 1000 <= train(TD3_RUN, tmp_path, resume=True).wall_s < 2000


def test_settings_and_summaries_pickle(tmp_path: Path) -> None:
    for settings in RUNS:
        assert pickle.loads(pickle.dumps(settings)) == settings
    summary = train(TD3_RUN, tmp_path / "run")
    assert pickle.loads(pickle.dumps(summary)) == summary


def test_the_main_threads_generators_are_seeded_and_kept(tmp_path: Path) -> None:
    """A user's environment draws the same numbers in an equal run, and after a stop."""
    draws: list[list[float]] = [[], [], []]

    class Drawing(Observer):
        def __init__(self, into: list[float]) -> None:
            self.into = into

        def row(self, row: Any) -> None:
            self.into += [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002

    for number in range(2):
        train(TD3_RUN, tmp_path / str(number), observers=[Drawing(draws[number])])
    train(TD3_RUN, tmp_path / "2", observers=[Drawing(draws[2])], stop=lambda: len(draws[2]) > 6)
    assert 6 < len(draws[2]) < len(draws[0])
    random.seed(99)
    train(TD3_RUN, tmp_path / "2", observers=[Drawing(draws[2])], resume=True)
    assert draws[0] == draws[1] == draws[2]


def test_the_kind_of_a_run_is_in_its_folder(tmp_path: Path) -> None:
    for number, settings in enumerate((TD3_RUN, PETS_RUN)):
        train(settings, tmp_path / str(number), stop=lambda: True)
        assert settings_of(tmp_path / str(number)) == settings
        assert (tmp_path / f"{number}/config.yaml").read_text().startswith(f"kind: {('learn', 'pets')[number]}\n")
    assert kinds.build({"env": "Pendulum-v1", "agent": "td3"}) == LearnSettings(env="Pendulum-v1", agent=TD3())
    assert isinstance(kinds.build({"env": "Pendulum-v1", "horizon": 3}), PETSSettings)  # old settings without a kind
    with pytest.raises(ValueError, match=r"settings: name: unknown runsettings 'lern'; did you mean 'learn'\?"):
        kinds.build({"kind": "lern"})


def test_what_a_run_keeps(tmp_path: Path) -> None:
    train(TD3_RUN, tmp_path, stop=lambda: True)
    config = (tmp_path / "config.yaml").read_text()
    for name, value, first in (("seed", 5, 0), ("env", "Ant-v5", "'Pendulum-v1'"), ("num_envs", 2, 1)):
        with pytest.raises(ValueError, match=f"{name}: expected {first}, as at the run's beginning, got {value!r}"):
            train(replace(TD3_RUN, **{name: value}), tmp_path, resume=True)
    with pytest.raises(ValueError, match="expected LearnSettings, got PETSSettings"):
        train(PETS_RUN, tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"settings: do not fit the checkpoints in .*: size mismatch"):
        train(replace(TD3_RUN, agent=TD3(network=Network.of(Architecture((9, 9))))), tmp_path, resume=True)
    with pytest.raises(ValueError, match="holds a run already"):
        train(TD3_RUN, tmp_path)
    with pytest.raises(ValueError, match=r"expected the folder of a run, found no config.yaml in it"):
        train(TD3_RUN, tmp_path / "none", resume=True)
    assert (tmp_path / "config.yaml").read_text() == config
    assert train(replace(TD3_RUN, steps=200), tmp_path, resume=True).evaluation_steps == [80, 160, 200]
    assert "steps: 200" in (tmp_path / "config.yaml").read_text()
    assert not (tmp_path / "in_use.json").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """While it runs, in any thread. Nothing in it changes."""
    refused: list[str] = []

    class Meddling(Observer):
        def row(self, row: Any) -> None:
            if refused:
                return
            files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
            with pytest.raises(ValueError, match=r"in use by this process on .* since ") as found:
                train(TD3_RUN, tmp_path, resume=True)
            refused.append(str(found.value))
            assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files

    train(TD3_RUN, tmp_path, observers=[Meddling()])
    assert len(refused) == 1
    assert "\n" not in refused[0]


def test_seeds_are_those_that_numpy_knows() -> None:
    assert LearnSettings(env="Pendulum-v1", seed=2**32 - 1).seed == 2**32 - 1
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=r"seed: expected an integer in \[0, 4294967295\], got"):
            LearnSettings(env="Pendulum-v1", seed=seed)
