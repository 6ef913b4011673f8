"""What goes wrong under way: environments that fail, memory that ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elites.planners import CEM
from elites.runs import EnvironmentFault, OutOfMemory, train
from tests.runs.small import PETS_RUN, TD3_RUN, Endless, Listening, returns


@pytest.fixture(autouse=True)
def _well() -> Iterator[None]:
    yield
    Endless.surprise, Endless.steps = staticmethod(lambda step: None), 0


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
