"""Environments with autoreset: which rows are transitions, and which episodes can be resumed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from elites.agents import Learner, Transition
from elites.agents.lockstep import Lockstep, Step, play
from elites.runs import EnvironmentFault, Episodes, Loop, RunFolder, Steps
from elites.runs.evaluation import evaluate
from elites.runs.progress import Running

MODES = list(AutoresetMode)
OTHERS = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


class Count(gymnasium.Env[Any, Any]):
    """Observes (its number, its episode, its step). The first two decide the length of an episode."""

    observation_space = Box(-np.inf, np.inf, (3,), np.float64)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, number: int, lengths: tuple[int, ...] = (3, 5, 4)) -> None:
        self.number, self.lengths, self.episode = number, lengths, -1

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.at = self.episode + 1, 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        over = self.at == self.lengths[(self.episode + self.number) % len(self.lengths)]
        even = self.episode % 2 == 0
        return self._seen(), 100.0 * self.number + self.at, over and even, over and not even, {}

    def _seen(self) -> Any:
        return np.array([self.number, self.episode, self.at], dtype=float)


class Watcher(Learner):
    """Acts only by its observation, and records everything."""

    def __init__(self) -> None:
        self.rng, self.seen, self.begun = torch.Generator(), list[tuple[Any, ...]](), list[list[int]]()
        self.improved, self.asked = 0, 0

    def begin(self, which: Any) -> None:
        self.begun.append(which.tolist())

    def act(self, observation: Any, explore: bool = True) -> Any:
        self.asked += 1
        return (np.tanh(observation @ np.array([0.1, 0.2, 0.3]))[:, None]).astype(np.float32)

    def act_at_random(self, count: int) -> Any:
        return np.zeros((count, 1), dtype=np.float32)

    def observe(self, step: Transition) -> None:
        for row in zip(*(getattr(step, name).tolist() for name in Transition.__annotations__), strict=True):
            self.seen.append(tuple(tuple(x) if isinstance(x, list) else x for x in row))

    def improve(self, steps: int) -> None:
        self.improved += steps

    def state_dict(self) -> dict[str, Any]:
        return {"seen": [list(map(list_of, row)) for row in self.seen]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = [tuple(tuple(x) if isinstance(x, list) else x for x in row) for row in state["seen"]]


def list_of(x: Any) -> Any:
    return list(x) if isinstance(x, tuple) else x


def environments(mode: AutoresetMode, lengths: tuple[int, ...], count: int = 3) -> SyncVectorEnv:
    return SyncVectorEnv([lambda i=i: Count(i, lengths) for i in range(count)], autoreset_mode=mode)  # type: ignore[misc]


def went(folder: Path, envs: VectorEnv[Any, Any, Any], steps: int) -> tuple[Watcher, Loop]:
    agent = Watcher()
    schedule = Steps(random_steps=0, steps=steps, evaluate_every=10**9, evaluation_episodes=0)
    loop = Loop(agent, envs, RunFolder.begin(folder, {}), schedule, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loop()
    return agent, loop


@pytest.mark.parametrize("mode", OTHERS)
def test_the_same_transitions_as_where_nothing_begins_by_itself(tmp_path: Path, mode: AutoresetMode) -> None:
    """Episodes of equal length end together, so all environments have the same number of transitions."""
    (one, first), (other, second) = (
        went(tmp_path / each.name, environments(each, (4,)), 60) for each in (AutoresetMode.DISABLED, mode)
    )
    assert Counter(one.seen) == Counter(other.seen)
    assert len(one.seen) == 60 == one.improved == other.improved
    columns = ("episode", "return", "length", "terminated", "env_steps")
    assert [[row[name] for name in columns] for row in first.rows] == [
        [row[name] for name in columns] for row in second.rows
    ]


@pytest.mark.parametrize("mode", OTHERS)
def test_episodes_of_other_lengths(tmp_path: Path, mode: AutoresetMode) -> None:
    """Each environment's transitions are the first ones that it has without autoreset."""
    whole, _ = went(tmp_path / "whole", environments(AutoresetMode.DISABLED, (3, 5, 4)), 300)
    part, loop = went(tmp_path / "part", environments(mode, (3, 5, 4)), 120)
    assert len(part.seen) >= 120
    for number in range(3):
        expected = [row for row in whole.seen if row[-1] == number]
        found = [row for row in part.seen if row[-1] == number]
        assert len(found) > 25
        assert found == expected[: len(found)]
    for row in part.seen:  # observation, action, reward, next observation, terminated, truncated, where
        (number, episode, at), (_, following, then) = row[0], row[3]
        assert (number, following, then) == (row[-1], episode, at + 1)
        assert row[1] == (np.tanh(np.array(row[0]) @ [0.1, 0.2, 0.3]).astype(np.float32),)
    for row in loop.rows:
        assert row["return"] % 100 == sum(range(row["length"] + 1)) % 100
        assert row["length"] in (3, 4, 5)


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_hears_where_episodes_begin(tmp_path: Path, mode: AutoresetMode) -> None:
    """After the last transition of one episode and before the first transition of the next."""
    agent, _ = went(tmp_path, environments(mode, (3,), 2), 13)
    assert agent.begun == [[True, True]] * 3


def test_nothing_is_planned_for_a_step_that_is_ignored(tmp_path: Path) -> None:
    agent, _ = went(tmp_path, environments(AutoresetMode.NEXT_STEP, (3,), 2), 12)
    assert agent.asked == 6


@pytest.mark.parametrize("mode", OTHERS)
def test_episodes_that_are_counted(tmp_path: Path, mode: AutoresetMode) -> None:
    found = []
    for each in (AutoresetMode.DISABLED, mode):
        agent = Watcher()
        run = RunFolder.begin(tmp_path / each.name, {})
        loop = Loop(agent, environments(each, (3, 5, 4), 1), run, Episodes(1, 3, 2), 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            summary = loop()
        found.append((agent.seen, summary.episode_returns, summary.evaluation_returns, agent.improved))
    assert found[0] == found[1]


@pytest.mark.parametrize("mode", OTHERS)
def test_it_is_said_that_a_run_is_not_resumed_bit_for_bit(tmp_path: Path, mode: AutoresetMode) -> None:
    said = rf"Count: autoreset mode {mode.name} sets the seeds .* DISABLED it resumes bit for bit"
    schedule = Steps(random_steps=0, steps=20, evaluate_every=10**9, evaluation_episodes=0, checkpoint_s=1e9)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 4

    agent = Watcher()
    loop = Loop(agent, environments(mode, (5,)), RunFolder.begin(tmp_path, {}), schedule, 0, stop=stop)
    with pytest.warns(UserWarning, match=said):
        assert not loop().finished
    assert len(agent.seen) == 12
    folder, again = RunFolder.resume(tmp_path), Watcher()
    loop = Loop(again, environments(mode, (5,)), folder, schedule, 0)
    loop.load_state_dict(folder.load(pytest.fail) or {})
    with pytest.warns(UserWarning, match=said):
        loop()
    assert again.begun[0] == [True] * 3
    assert again.seen[:12] == agent.seen
    assert [row[0] for row in again.seen[12:15]] == [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (2.0, 0.0, 0.0)]  # new episodes
    assert len(again.seen) == 21
    assert {row["length"] for row in loop.rows} <= {5}


def test_a_film_is_of_an_episode_whose_seed_is_known(tmp_path: Path) -> None:
    """Only of the first episode, if environments begin the others automatically."""
    _, loop = went(tmp_path, environments(AutoresetMode.SAME_STEP, (3, 5, 4), 1), 40)
    assert loop.progress.best
    assert loop.progress.best.total == 1 + 2 + 3
    assert len(loop.progress.best.actions) == 3


@pytest.mark.parametrize("mode", MODES)
def test_evaluations_in_any_mode(mode: AutoresetMode) -> None:
    found = evaluate(Watcher(), environments(mode, (3, 5, 4)), lambda *_: True)
    assert found
    assert found.lengths.tolist() == [3, 5, 4]
    assert found.returns.tolist() == [6.0, 515.0, 810.0]
    assert len(found.best_actions) == 4


@pytest.mark.parametrize("mode", OTHERS)
def test_played_in_processes_of_their_own(mode: AutoresetMode) -> None:
    envs = AsyncVectorEnv([lambda: Count(0), lambda: Count(1)], autoreset_mode=mode)
    stage = Lockstep(envs)
    stage.reset([0, 0])
    ends = []
    for _ in range(4):
        step = stage.step(np.zeros((2, 1), dtype=np.float32))
        ends.append((step.ended.tolist(), step.next_observation[:, 2].tolist(), step.where.tolist()))
    envs.close()
    assert ends[2][:2] == ([True, False], [3.0, 3.0])
    at, valid = ([0.0, 4.0], [1]) if mode == AutoresetMode.NEXT_STEP else ([1.0, 4.0], [0, 1])
    assert ends[3] == ([False, False], at, valid)


def test_a_mode_that_nobody_knows() -> None:
    envs = environments(AutoresetMode.DISABLED, (3,))
    envs.metadata = {}
    with pytest.raises(ValueError, match="expected an autoreset mode of DISABLED, NEXT_STEP, SAME_STEP, got None"):
        Lockstep(envs)


class Signs(gymnasium.Env[Any, Any]):
    """Two buttons, numbered from 3 on. The second button moves on."""

    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Discrete(2, start=3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at, self.left = np.float32(self.np_random.uniform()), 6
        return np.array([self.at]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.at, self.left = self.at + np.float32(action - 3), self.left - 1
        return np.array([self.at]), float(self.at), False, self.left == 0, {}


class Presser(Watcher):
    def __init__(self) -> None:
        super().__init__()
        self.rng.manual_seed(0)

    def act(self, observation: Any, explore: bool = True) -> Any:
        return self.act_at_random(len(observation))

    def act_at_random(self, count: int) -> Any:
        return torch.randint(3, 5, (count,), generator=self.rng).numpy()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"rng": self.rng.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.rng.set_state(state["rng"])


def test_actions_that_are_choices_are_kept_and_gone_through_again(tmp_path: Path) -> None:
    def loop(folder: Path, stop_at: int = -1) -> Loop:
        asked: list[int] = []

        def stop() -> bool:
            asked.append(1)
            return len(asked) == stop_at

        run = RunFolder.resume(folder) if folder.exists() else RunFolder.begin(folder, {})
        envs = SyncVectorEnv([Signs, Signs], autoreset_mode=AutoresetMode.DISABLED)
        made = Loop(Presser(), envs, run, Steps(4, 40, 10**6, 0), 0, stop=stop)
        if state := run.load(pytest.fail):
            made.load_state_dict(state)
        return made

    whole = loop(tmp_path / "whole")
    whole()
    assert not loop(tmp_path / "parts", 8)().finished
    again = loop(tmp_path / "parts")
    assert [len(taken) for taken in again.progress.actions] == [2, 2]
    assert {int(action) for taken in again.progress.actions for action in taken} <= {3, 4}
    again()
    assert again.agent.seen == whole.agent.seen  # type: ignore[attr-defined]
    assert {row[1] for row in whole.agent.seen} == {3, 4}  # type: ignore[attr-defined]


def test_an_action_as_its_space_has_it() -> None:
    envs = Lockstep(SyncVectorEnv([Signs], autoreset_mode=AutoresetMode.DISABLED))
    assert envs.executed(np.array([4], dtype=np.int32)).dtype == np.int64
    box = Lockstep(environments(AutoresetMode.DISABLED, (3,)))
    assert box.executed(np.array([[2.0]])).tolist() == [[1.0]]  # another precision: inside its own bounds
    assert box.executed(np.array([[0.5]])).dtype == np.float32


def test_play_stops_where_it_is_told_to() -> None:
    stage, asked = Lockstep(environments(AutoresetMode.DISABLED, (3,))), list[int]()

    def watch(step: int, *_: Any) -> bool:
        asked.append(step)
        return step < 2

    assert play(Watcher().act, stage, [0, 0, 0], watch) is None
    assert asked == [0, 1, 2]


def test_a_reset_ends_all_waiting() -> None:
    stage = Lockstep(environments(AutoresetMode.NEXT_STEP, (2,)))
    for _ in range(2):
        stage.reset([0, 0, 0])
        steps = [stage.step(np.zeros((3, 1), dtype=np.float32)) for _ in range(2)]
        assert [len(step.where) for step in steps] == [3, 3]
        assert stage.waiting.all()


def test_what_is_ignored_is_no_step_of_an_episode() -> None:
    """Its reward does not count either."""
    progress, no = Running(0, 2), np.zeros(2, dtype=bool)
    observation = np.zeros((2, 3))
    step = Step(observation, np.array([5.0, 1.0]), observation, no, no, no, np.array([True, False]), np.array([1]))
    progress.took(np.ones((2, 1)), step)
    assert progress.returns.tolist() == [0.0, 1.0]
    assert [len(taken) for taken in progress.actions] == [0, 1]


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_begins_once(tmp_path: Path, mode: AutoresetMode) -> None:
    """An agent with lessons is told once."""
    asked: list[bool] = []

    class Student(Watcher):
        def due(self, episode_begins: bool) -> bool:
            asked.append(episode_begins)
            return False

    schedule = Steps(random_steps=0, steps=9, evaluate_every=10**9, evaluation_episodes=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Loop(Student(), environments(mode, (3,), 1), RunFolder.begin(tmp_path, {}), schedule, 0)()
    assert asked.count(True) == 3


def test_observations_of_another_shape(tmp_path: Path) -> None:
    """The environments are not ours, so it is not known which of them gave the observation."""

    class Odd(SyncVectorEnv):
        taken = 0

        def step(self, actions: Any) -> Any:
            observation, *rest = super().step(actions)
            self.taken += 1
            return (observation[:, :2] if self.taken == 4 else observation, *rest)

    envs = Odd([lambda: Count(0), lambda: Count(1)], autoreset_mode=AutoresetMode.DISABLED)
    schedule = Steps(random_steps=0, steps=20, evaluate_every=10**9, evaluation_episodes=0)
    where = r"step 1 of episode 3 or step 4 of episode 2"
    said = rf"^Count: expected observations of shape \(2, 3\) at {where}, got \(2, 2\); the last checkpoint is .*json$"
    with pytest.raises(EnvironmentFault, match=said):
        Loop(Watcher(), envs, RunFolder.begin(tmp_path, {}), schedule, 0)()
