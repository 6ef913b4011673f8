"""A run from settings: anywhere, several at once, and its early ends."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import elites
from elites.agents import TD3, Network
from elites.dynamics import EnsembleConfig, Training
from elites.networks.architecture import Architecture
from elites.planners import CEM
from elites.runs import (
    EnvironmentFault,
    LearnSettings,
    Observer,
    OutOfMemory,
    PETSSettings,
    Status,
    Summary,
    Watched,
    kinds,
    settings_of,
    train,
)

TD3_RUN = LearnSettings(
    env="Pendulum-v1",
    episode_steps=30,
    agent=TD3(network=Network.of(Architecture((8, 8))), batch=8),
    random_steps=40,
    steps=160,
    evaluate_every=80,
    evaluation_episodes=2,
)
PETS_RUN = PETSSettings(
    planner=CEM(samples=8, elites=2, iterations=2),
    horizon=5,
    model=EnsembleConfig(members=2, architecture=Architecture((8,), "silu")),
    training=Training(epochs=2),
    env="elites/CartpoleSwingup-v0",
    random_episodes=1,
    episodes=2,
    episode_steps=10,
)
RUNS = [TD3_RUN, replace(TD3_RUN, seed=1, num_envs=2), PETS_RUN, replace(PETS_RUN, seed=1)]


def in_turn(folder: Path) -> list[Any]:
    return [returns(train(settings, folder / str(i))) for i, settings in enumerate(RUNS)]


def returns(summary: Summary) -> Any:
    return summary.episode_returns, summary.evaluation_returns, summary.random_returns, summary.env_steps


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


# --- observers --------------------------------------------------------------------------------------------------------


class Listening(Observer):
    speaks = True

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.said: list[str] = []
        self.statuses: list[Status] = []

    def began(self, run: Watched) -> None:
        self.run = run
        self.heard.append("began")

    def tell(self, text: str) -> None:
        self.said.append(text)

    def status(self, status: Status) -> None:
        self.statuses.append(status)

    def row(self, row: Any) -> None:
        self.heard.append(row["phase"])

    def saving(self) -> None:
        self.heard.append("saving")

    def saved(self, checkpoint: Path) -> None:
        assert checkpoint.exists()
        self.heard.append("saved")

    def ended(self, summary: Summary) -> None:
        assert (self.run.folder / "summary.json").exists() or not summary.finished
        self.heard.append("ended")

    def close(self) -> None:
        self.heard.append("closed")


def test_what_an_observer_hears(tmp_path: Path) -> None:
    listening = Listening()
    train(replace(TD3_RUN, checkpoint_s=1e9), tmp_path, observers=[listening])
    learning = ["random"] + ["learning"] * 2
    expected = ["began", *learning[:2], "evaluation", "learning", "learning", "learning", "final"]
    assert listening.heard == [*expected, "saving", "saved", "ended", "closed"]
    assert [status.env_steps for status in listening.statuses if status.phase in ("random", "learning")] == [
        *range(1, 161)
    ]
    assert {status.phase for status in listening.statuses} == {"random", "learning", "evaluation", "final"}
    assert [status.total for status in listening.statuses][29] == 0.0  # the next episode begins
    lengths = [status.length for status in listening.statuses if status.phase == "random"]
    assert lengths == [*range(1, 30), 0, *range(1, 11)]
    assert listening.run.env == "Pendulum-v1"
    assert listening.run.best
    assert listening.run.best.total == max(
        row["best" if "best" in row else "return"] for row in listening.run.rows if row["phase"] != "random"
    )
    again = Listening()
    train(replace(TD3_RUN, steps=200), tmp_path, observers=[again], resume=True, stop=lambda: True)
    assert again.heard == ["began", "saving", "saved", "ended", "closed"]
    assert again.run.rows == listening.run.rows


@pytest.mark.parametrize("method", ["began", "row", "status", "saving", "saved", "ended", "close", "tell"])
def test_an_observer_that_raises_is_dropped(tmp_path: Path, method: str, expected: list[Any]) -> None:
    """The run continues and reports it once."""
    calls: list[int] = []

    def fail(*_: Any) -> None:
        calls.append(1)
        raise RuntimeError("no\nroom for it")

    broken, listening = Observer(), Listening()
    setattr(broken, method, fail)
    settings = replace(TD3_RUN, env="Endless-v0", episode_steps=None) if method == "tell" else TD3_RUN
    summary = train(settings, tmp_path, observers=[broken, listening])
    assert len(calls) == 1
    said = "Observer: expected an observer that raises nothing, got RuntimeError: room for it; it is dropped"
    assert listening.said.count(said) == 1
    assert [text for text in listening.said if text != said] == (
        ["Endless-v0 does not limit its episodes; episode_steps=1000 sets a limit"] if method == "tell" else []
    )
    if method != "tell":
        assert returns(summary) == expected[0]


def test_where_nobody_speaks_it_is_a_warning(tmp_path: Path) -> None:
    class Broken(Observer):
        def row(self, row: Any) -> None:
            raise ZeroDivisionError

    with pytest.warns(UserWarning, match=r"Broken: expected .*, got ZeroDivisionError; it is dropped") as found:
        train(TD3_RUN, tmp_path, observers=[Broken()])
    assert len(found) == 1


def test_metrics_are_there_though_their_folder_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """metrics.csv is written by an observer too."""

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("elites.runs.recorders.replace", full)
    listening = Listening()
    assert train(TD3_RUN, tmp_path, observers=[listening]).finished
    assert [text.partition(":")[0] for text in listening.said] == ["MetricsCSV"]


# --- what goes wrong --------------------------------------------------------------------------------------------------


class Endless(gymnasium.Env[Any, Any]):
    """Without a limit of steps; episodes end after 30. `surprise` is called at every step, with its number."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    surprise: Any = staticmethod(lambda step: None)
    steps = 0

    def __init__(self, **_: Any) -> None:
        if type(self).surprise == "constructor":
            raise AttributeError("mujoco has no\nattribute 'mjXX'")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.normal(size=2)
        self.left = 30
        return self.at.copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        type(self).steps += 1
        self.left -= 1
        self.at = self.at + action + 0.1 * self.np_random.normal(size=2)
        told = type(self).surprise(type(self).steps)
        return self.at.copy() if told is None else told, -float(self.at @ self.at), False, self.left == 0, {}


@pytest.fixture(autouse=True)
def _well() -> None:
    Endless.surprise, Endless.steps = staticmethod(lambda step: None), 0
    if "Endless-v0" not in gymnasium.registry:
        gymnasium.register("Endless-v0", Endless, max_episode_steps=None, disable_env_checker=True)


ENDLESS = replace(TD3_RUN, env="Endless-v0", episode_steps=100, num_envs=1, checkpoint_s=1e9)


def raising(at: int) -> Callable[[int], Any]:
    def surprise(step: int) -> Any:
        if step == at:
            raise ArithmeticError("the simulator\nis unstable")

    return surprise


def odd(at: int) -> Callable[[int], Any]:
    return lambda step: np.zeros(3) if step == at else None


RAISED = "expected an observation at {}, got ArithmeticError: is unstable; the last checkpoint is .*json"
SHAPE = r"expected an observation of shape \(2,\) at {}, got one of \(3,\); the last checkpoint is .*json"


@pytest.mark.parametrize(("kind", "said"), [(raising, RAISED), (odd, SHAPE)])
@pytest.mark.parametrize(
    ("at", "where"),
    [(77, "step 17 of episode 3"), (105, "step 13 of evaluation episode 1"), (12, "step 12 of episode 1")],
)
def test_an_environment_that_fails(tmp_path: Path, kind: Any, said: str, at: int, where: str) -> None:
    """The message names the environment, the step and the error. The run before it is saved and can be resumed."""
    Endless.surprise = staticmethod(kind(at))
    with pytest.raises(EnvironmentFault, match="^Endless-v0: " + said.format(where)) as found:
        train(ENDLESS, tmp_path / "run")
    assert "\n" not in str(found.value)
    assert type(found.value.__cause__) is (ArithmeticError if kind is raising else type(None))
    Endless.surprise = staticmethod(lambda step: None)
    again = Listening()
    summary = train(ENDLESS, tmp_path / "run", resume=True, observers=[again])
    assert returns(summary) == returns(train(ENDLESS, tmp_path / "whole"))
    steps = [status.env_steps for status in again.statuses]
    assert steps[0] == {77: 77, 105: 80, 12: 12}[at]


def test_of_several_environments_the_one_that_fails_is_named(tmp_path: Path) -> None:
    Endless.surprise = staticmethod(raising(20))
    with pytest.raises(EnvironmentFault, match="Endless-v0: expected an observation at step 7 of episode 2, got Ar"):
        train(replace(ENDLESS, num_envs=3), tmp_path)


@pytest.mark.parametrize(("which", "where"), [(2, "the beginning of episode 2"), (4, "the beginning of evaluation e")])
def test_an_environment_whose_reset_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int, where: str
) -> None:
    resets, reset = [0], Endless.reset

    def failing(env: Any, **options: Any) -> Any:
        resets[0] += 1
        if resets[0] == which:
            raise ArithmeticError("not now")
        return reset(env, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Endless, "reset", failing)
        with pytest.raises(EnvironmentFault, match=f"observation at {where}.*, got ArithmeticError: not now; the last"):
            train(ENDLESS, tmp_path / "run")
    summary = train(ENDLESS, tmp_path / "run", resume=True)
    assert returns(summary) == returns(train(ENDLESS, tmp_path / "whole"))


def test_an_environment_that_fails_in_its_constructor(tmp_path: Path) -> None:
    """The message names the environment and the last line of the error. No folder is made."""
    Endless.surprise = "constructor"
    with pytest.raises(ValueError, match=r"^env: expected to make Endless-v0, got AttributeError: attribute 'mjXX'$"):
        train(ENDLESS, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=r"^env: expected to make nowhere:A-v0, got ModuleNotFoundError: No module"):
        train(replace(ENDLESS, env="nowhere:A-v0"), tmp_path / "run")


def test_more_than_fits_into_memory(tmp_path: Path) -> None:
    """The message names the memory needed and the memory free. The run resumes with less."""
    much = replace(PETS_RUN, planner=CEM(samples=2**42, elites=2, iterations=1))
    with pytest.raises(OutOfMemory) as found:
        train(much, tmp_path)
    said = r"expected to need at most [\d.]+ GB of memory, got .*GB, after 10 steps; the last checkpoint is .*n"
    assert "\n" not in str(found.value)
    assert isinstance(found.value.__cause__, RuntimeError)
    assert re.fullmatch(f"elites/CartpoleSwingup-v0: {said}", str(found.value))
    assert train(PETS_RUN, tmp_path, resume=True).finished


def test_environments_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environments for learning and for evaluations, after any end of a run."""
    closed: list[int] = []
    monkeypatch.setattr(Endless, "close", lambda env: closed.append(1))
    train(replace(ENDLESS, num_envs=3), tmp_path / "a")
    assert len(closed) == 3 + 2
    Endless.surprise = staticmethod(raising(Endless.steps + 20))
    with pytest.raises(EnvironmentFault):
        train(ENDLESS, tmp_path / "b")
    assert len(closed) == 5 + 1 + 2


def test_another_error_of_an_agent_comes_out_as_it_is(tmp_path: Path) -> None:
    class Wrong(Exception):
        pass

    def stop() -> bool:
        raise Wrong

    with pytest.raises(Wrong):
        train(TD3_RUN, tmp_path, stop=stop)
    assert not (tmp_path / "in_use.json").exists()


def test_mujocos_warnings_go_into_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, and no file in the working directory."""
    import mujoco

    heard: list[str] = []
    monkeypatch.chdir(tmp_path)
    mujoco.set_mju_user_warning(heard.append)
    try:
        ball = "<worldbody><body><freejoint/><geom size='1'/></body></worldbody>"
        model = mujoco.MjModel.from_xml_string(f"<mujoco>{ball}</mujoco>")

        def unstable(step: int) -> None:
            data = mujoco.MjData(model)  # each warns once
            data.qpos[0] = np.nan
            mujoco.mj_step(model, data)

        Endless.surprise = staticmethod(unstable)
        listening = Listening()
        train(ENDLESS, tmp_path / "run", observers=[listening])
        assert (tmp_path / "run/MUJOCO_LOG.TXT").read_text().count("\n") == len(listening.said) >= 1
        assert {path.name for path in tmp_path.iterdir()} == {"run"}
        assert all(text.startswith("MuJoCo: ") for text in listening.said)
        assert not heard
        unstable(0)
        assert len(heard) >= 1  # the user's own handler is set again
    finally:
        mujoco.set_mju_user_warning(None)


# --- load -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 2])
def test_the_agent_of_a_run(tmp_path: Path, number: int) -> None:
    watching = Listening()
    train(RUNS[number], tmp_path, observers=[watching])
    agent = elites.load(tmp_path)
    env = RUNS[number].make_environment()
    observation, _ = env.reset(seed=0)
    action = agent.act(observation[None], explore=False)
    assert env.action_space.contains(action[0])
    watching.run.agent.begin(np.ones(1, dtype=bool))
    if number == 0:
        assert np.array_equal(action, watching.run.agent.act(observation[None], explore=False))
        assert agent.replay.total == watching.run.agent.replay.total == 160  # type: ignore[attr-defined]
    else:
        state, expected = (each.model.state_dict() for each in (agent, watching.run.agent))  # type: ignore[attr-defined]
        assert all(torch.equal(value, expected[name]) for name, value in state.items())


def test_what_has_no_agent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected the folder of a run, found no config.yaml in it"):
        elites.load(tmp_path)
    train(TD3_RUN, tmp_path / "a", stop=lambda: True)
    for path in (tmp_path / "a/checkpoints").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="expected a run with a checkpoint, found none"):
        elites.load(tmp_path / "a")
    config = (tmp_path / "a/config.yaml").read_text()
    (tmp_path / "a/config.yaml").write_text(config.replace("Pendulum-v1", "gone:Gone-v0"))
    (tmp_path / "a/checkpoints/000001.json").touch()
    with pytest.raises(ValueError, match="env: expected to make gone:Gone-v0, got ModuleNotFoundError: No m"):
        elites.load(tmp_path / "a")


def test_agents_alone_load_nothing_of_a_run() -> None:
    code = (
        "import sys; from elites.agents.mpc import MPC; import elites.agents.lockstep\n"
        "sys.exit(bool({'resource', 'matplotlib', 'elites.runs'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_seeds_are_those_that_numpy_knows() -> None:
    assert LearnSettings(env="Pendulum-v1", seed=2**32 - 1).seed == 2**32 - 1
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=r"seed: expected an integer in \[0, 4294967295\], got"):
            LearnSettings(env="Pendulum-v1", seed=seed)
