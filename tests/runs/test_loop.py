"""The loop: its records, its stops, and resuming as if it had never stopped."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from elites.agents import Learner, Transition
from elites.runs import Episodes, Loop, MetricsCSV, Observer, RunFolder, Schedule, TensorBoard, episode_seed

SCHEDULE = Episodes(random_episodes=2, episodes=4, evaluation_episodes=2, checkpoint_s=0.0)


class Drift(gymnasium.Env[Any, Any]):
    """A noisy walk of at most 7 steps. `surprise` is called at every step."""

    observation_space = Box(-np.inf, np.inf, (1,), np.float64)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, surprise: Callable[[int], Any] = lambda step: None) -> None:
        self.surprise, self.taken = surprise, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at, self.left = self.np_random.normal(size=1), 7
        return self.at.copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken += 1
        self.at = self.at + action + 0.1 * self.np_random.normal(size=1)
        self.left -= 1
        told = self.surprise(self.taken)
        observation = self.at.copy() if told is None else np.full(1, told)
        return observation, float(-abs(self.at[0])), bool(self.at[0] > 3), self.left == 0, {}


class Counter(Learner):
    """An agent that draws random numbers and records everything."""

    def __init__(self) -> None:
        self.rng, self.seen, self.lessons = torch.Generator().manual_seed(0), list[list[float]](), 0
        self.learned_at = 0

    def act(self, observation: Any, explore: bool = True) -> Any:
        return self.act_at_random(len(observation)) * 0.5 - 0.01 * self.lessons

    def act_at_random(self, count: int) -> Any:
        return torch.rand(count, 1, generator=self.rng).numpy() - np.float32(0.5)

    def observe(self, step: Transition) -> None:
        columns = [step.observation, step.action, step.reward, step.next_observation, step.terminated]
        self.seen += np.column_stack(columns).tolist()

    def due(self, episode_begins: bool) -> bool:
        return len(self.seen) - self.learned_at >= 5

    def learn(self, progress: Callable[[str], None]) -> dict[str, float]:
        progress("learning")
        self.lessons, self.learned_at = self.lessons + 1, len(self.seen)
        return {"draw": torch.rand((), generator=self.rng).item(), "chance": random.random()}

    def summary(self) -> dict[str, Any]:
        return {"lessons": self.lessons}

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self.rng.get_state(), "seen": self.seen, "lessons": self.lessons, "learned_at": self.learned_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rng.set_state(state["rng"])
        self.seen, self.lessons, self.learned_at = state["seen"], state["lessons"], state["learned_at"]


def loop(
    folder: Path,
    env: Drift,
    agent: Counter | None = None,
    schedule: Schedule = SCHEDULE,
    stop: Callable[[], bool] = lambda: False,
    observers: Sequence[Observer] = (),
) -> Loop:
    """A new loop, or one that resumes the run in the folder."""
    resumed = (folder / "config.yaml").exists()
    random.seed(99 if list(folder.glob("checkpoints/*.json")) else 0)  # a user's own draws differ after a resume
    run = RunFolder.resume(folder) if resumed else RunFolder.begin(folder, {})
    made = Loop(agent or Counter(), env, run, schedule, 0, stop=stop, observers=observers)
    if state := run.load(pytest.fail):
        made.load_state_dict(state)
    return made


def outcome(finished: Loop) -> tuple[Any, Any]:
    """The results that must not depend on interruptions."""
    timeless = [{k: v for k, v in row.items() if k not in ("steps_per_s", "act_ms")} for row in finished.rows]
    return timeless, finished.agent.seen  # type: ignore[attr-defined]


class Crash(BaseException):
    """The process ends, as if it were killed."""


def test_phases_and_figures(tmp_path: Path) -> None:
    finished = loop(tmp_path, Drift(), observers=[MetricsCSV(), TensorBoard()])
    summary = finished().as_dict()
    assert [row["phase"] for row in finished.rows] == ["random"] * 2 + ["learning"] * 4 + ["evaluation"] * 2
    assert len(summary["episode_returns"]) == 4
    assert len(summary["random_returns"]) == len(summary["evaluation_returns"]) == 2
    assert summary["best_return"] == max(summary["episode_returns"])
    assert summary["last_three_mean"] == pytest.approx(np.mean(summary["episode_returns"][-3:]))
    lengths = [row["length"] for row in finished.rows[:6]]  # evaluation steps are not for learning
    assert summary["env_steps"] == len(finished.agent.seen) == sum(lengths)  # type: ignore[attr-defined]
    assert summary["lessons"] > 2
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + 8
    assert lines[0].startswith("episode,phase,env_steps,return,length,terminated")
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_truncation_is_not_termination(tmp_path: Path) -> None:
    finished = loop(tmp_path, Drift())
    finished()
    assert {row["length"] for row in finished.rows} == {7}
    assert not any(row["terminated"] for row in finished.rows)
    assert {seen[4] for seen in finished.agent.seen} == {0.0}  # type: ignore[attr-defined]


def test_every_episode_has_a_seed_of_its_own() -> None:
    assert len({episode_seed(seed, episode) for seed in range(30) for episode in range(30)}) == 900


def test_stopped_at_any_step_it_ends_the_same(tmp_path: Path) -> None:
    uninterrupted = loop(tmp_path / "whole", Drift())
    uninterrupted()
    taken = 0
    for stop in range(1, 60, 9):

        def crash(step: int, stop: int = stop) -> None:
            if step == stop:
                raise Crash

        folder, interrupted = tmp_path / f"stop{stop}", False
        try:
            loop(folder, Drift(crash))()
        except Crash:
            interrupted = True
        finished = loop(folder, Drift())
        finished()
        assert outcome(finished) == outcome(uninterrupted)
        taken += interrupted
    assert taken >= 5


@pytest.mark.parametrize(("checkpoint_s", "steps"), [(0.0, 9), (1e9, 31)])
def test_interrupted_again_and_again(tmp_path: Path, checkpoint_s: float, steps: int) -> None:
    """Every process runs for some steps, replayed steps included, and then dies."""
    schedule = Episodes(2, 4, 2, checkpoint_s=checkpoint_s)
    uninterrupted = loop(tmp_path / "whole", Drift(), schedule=schedule)
    uninterrupted()

    def crash(step: int) -> None:
        if step == steps:
            raise Crash

    folder = tmp_path / "broken"
    for _ in range(100):
        finished = loop(folder, Drift(crash), schedule=schedule)
        try:
            finished()
        except Crash:
            continue
        break
    else:
        pytest.fail("it gets nowhere")
    assert outcome(finished) == outcome(uninterrupted)


def test_stopped_it_saves_and_leaves(tmp_path: Path) -> None:
    asked: list[int] = []

    def ask(step: int) -> None:
        if step == 30:
            asked.append(step)

    schedule = Episodes(2, 4, 2, checkpoint_s=1e9)
    found = loop(tmp_path / "stopped", Drift(ask), schedule=schedule, stop=lambda: bool(asked))()
    assert not found.finished
    assert not (tmp_path / "stopped/summary.json").exists()
    again = loop(tmp_path / "stopped", Drift(), schedule=schedule)
    assert sum(row["length"] for row in again.rows) + len(again.progress.actions[0]) == 30  # nothing was lost
    again()
    uninterrupted = loop(tmp_path / "whole", Drift())
    assert uninterrupted().finished
    assert outcome(again) == outcome(uninterrupted)


def test_stopped_while_it_learns(tmp_path: Path) -> None:
    asked: list[int] = []

    class Slow(Counter):
        def learn(self, progress: Callable[[str], None]) -> dict[str, float]:
            super().learn(progress)
            asked.append(1)
            progress("still learning")
            raise AssertionError("not stopped")  # pragma: no cover

    assert not loop(tmp_path / "stopped", Drift(), Slow(), stop=lambda: bool(asked))().finished
    again = loop(tmp_path / "stopped", Drift())
    assert again.agent.lessons == 0  # type: ignore[attr-defined]  # as before the lesson
    again()
    uninterrupted = loop(tmp_path / "whole", Drift())
    uninterrupted()
    assert outcome(again) == outcome(uninterrupted)


def test_an_observation_that_is_not_finite(tmp_path: Path) -> None:
    broken = loop(tmp_path, Drift(lambda step: np.nan if step == 17 else None))
    said = r"Drift: expected finite numbers of 32 bits at step 3 of episode 3, got .*; the last checkpoint is .*json"
    with pytest.raises(ValueError, match=said):
        broken()
    assert len(loop(tmp_path, Drift()).progress.actions[0]) == 2  # saved up to the last step


def test_an_environment_that_is_not_reproducible(tmp_path: Path) -> None:
    def crash(step: int) -> None:
        if step == 17:
            raise Crash

    with pytest.raises(Crash):
        loop(tmp_path, Drift(crash))()
    with pytest.raises(ValueError, match="Drift: expected the same observations for the same seed and actions"):
        loop(tmp_path, Drift(lambda step: 0.123))()


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    RunFolder.begin(tmp_path, {})
    with pytest.raises(ValueError, match="holds a run already; --resume"):
        RunFolder.begin(tmp_path, {})
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="expected a folder, found a file"):
        RunFolder.begin(tmp_path / "file", {})
    with pytest.raises(ValueError, match=r"expected the folder of a run, found no config.yaml in it"):
        RunFolder.resume(tmp_path / "nowhere")
