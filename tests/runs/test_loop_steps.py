"""The loop by a schedule in steps: several environments at once, evaluations during learning, lessons at the end."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from tensorboard.backend.event_processing import event_accumulator

from elites.agents import TD3, Agent, Learner, Network, Transition
from elites.networks import Architecture
from elites.runs import Episodes, Loop, MetricsCSV, RunFolder, Steps, TensorBoard, episode_seed, together
from elites.runs.arena import Arena
from elites.runs.evaluation import evaluate, evaluation_seeds

SCHEDULE = Steps(random_steps=12, steps=90, evaluate_every=15, evaluation_episodes=2, checkpoint_s=0.0)
SELDOM = replace(SCHEDULE, checkpoint_s=1e9)


class Crash(BaseException):
    """The process ends, as if it were killed."""


class Walk(gymnasium.Env[Any, Any]):
    """Starts at its seed's last two digits, with noise. Terminates beyond ±2, and is truncated after 7 steps."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, surprise: Callable[[], Any] = lambda: None) -> None:
        self.surprise = surprise

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at, self.age, self.mark = self.np_random.normal(), 0, float((seed or 0) % 1000)
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.age < 7, "gone on with after its end"
        assert abs(self.at) <= 2 or self.age == 0, "gone on with after its end"
        self.at, self.age = self.at + float(action[0]) + 0.3 * self.np_random.normal(), self.age + 1
        told = self.surprise()
        observation = self._seen() if told is None else np.full(2, told)
        return observation, -abs(self.at), abs(self.at) > 2, self.age == 7, {}

    def _seen(self) -> Any:
        return np.array([self.at, self.mark])


class Student(Learner):
    """Draws, records, and learns by drawing."""

    def __init__(self) -> None:
        self.rng, self.seen = torch.Generator().manual_seed(0), list[list[float]]()
        self.improved, self.finished, self.begun = 0, 0, 0

    def begin(self, which: Any) -> None:
        self.begun += int(which.sum())

    def act(self, observation: Any, explore: bool = True) -> Any:
        return self.act_at_random(len(observation)) / 2

    def act_at_random(self, count: int) -> Any:
        return 2 * torch.rand(count, 1, generator=self.rng).numpy() - np.float32(1)

    def observe(self, step: Transition) -> None:
        columns = [step.observation, step.action, step.reward, step.next_observation, step.terminated]
        self.seen += np.column_stack(columns).tolist()

    def improve(self, steps: int) -> None:
        self.improved += steps
        torch.rand(1, generator=self.rng)

    def finish(self, pause: Callable[[str], None]) -> None:
        while self.finished < 5:
            torch.rand(1, generator=self.rng)
            self.finished += 1
            pause("finishing")

    def state_dict(self) -> dict[str, Any]:
        names = ("seen", "improved", "finished", "begun")
        return {"rng": self.rng.get_state()} | {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rng.set_state(state["rng"])
        self.seen, self.improved = state["seen"], state["improved"]
        self.finished, self.begun = state["finished"], state["begun"]


def loop(
    folder: Path,
    surprise: Callable[[], Any] = lambda: None,
    count: int = 3,
    schedule: Steps = SCHEDULE,
    agent: Student | None = None,
    shown: Callable[[], Any] = lambda: None,
    stop: Callable[[], bool] = lambda: False,
) -> Loop:
    """A new loop, or one that resumes the run in the folder."""
    resumed = (folder / "config.yaml").exists()
    run = RunFolder.resume(folder) if resumed else RunFolder.begin(folder, {})
    envs = together([Walk(surprise) for _ in range(count)])
    shows = together([Walk(shown) for _ in range(schedule.evaluation_episodes)])
    watching = [MetricsCSV(), TensorBoard()]
    made = Loop(agent or Student(), envs, run, schedule, 0, evaluation=shows, observers=watching, stop=stop)
    if state := run.load(pytest.fail):
        made.load_state_dict(state)
    return made


def student(of: Loop) -> Student:
    assert isinstance(of.agent, Student)
    return of.agent


def outcome(finished: Loop) -> tuple[Any, ...]:
    """The results that must not depend on interruptions."""
    timeless = [{k: v for k, v in row.items() if k not in ("steps_per_s", "act_ms")} for row in finished.rows]
    agent = student(finished)
    return timeless, agent.seen, agent.improved, agent.finished, agent.begun, agent.rng.get_state().tolist()


def test_phases_and_figures(tmp_path: Path) -> None:
    finished = loop(tmp_path)
    summary = finished().as_dict()
    assert summary["env_steps"] == len(student(finished).seen) == 90
    assert student(finished).improved == 90 - 12
    assert summary["evaluation_steps"] == [15, 30, 45, 60, 75, 90]
    assert summary["final_evaluation_mean"] == summary["evaluation_returns"][-1] == finished.rows[-1]["return"]
    shown = [row for row in finished.rows if row["phase"] in ("evaluation", "final")]
    assert [row["phase"] for row in shown] == ["evaluation"] * 5 + ["final"]
    assert all(row["worst"] <= row["return"] <= row["best"] for row in shown)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + len(finished.rows)


def test_no_step_leads_from_one_episode_to_the_next(tmp_path: Path) -> None:
    """With autoreset, the observation after an episode's last step is of the same episode. Its mark tells which."""
    finished = loop(tmp_path)
    finished()
    seen = np.array(student(finished).seen)  # at, mark, action, reward, next at, next mark, terminated
    assert np.array_equal(seen[:, 1], seen[:, 5])
    assert np.array_equal(seen[:, 6] == 1, np.abs(seen[:, 4]) > 2)
    assert seen[:, 6].any()
    ends = [row for row in finished.rows if "terminated" in row]
    assert {(row["length"] == 7) or row["terminated"] for row in ends} == {True}
    assert any(row["length"] == 7 and not row["terminated"] for row in ends)
    marks = {float(episode_seed(0, number) % 1000) for number in range(len(ends) + 3)}
    assert set(seen[:, 1]) <= marks
    assert len(set(seen[:, 1])) > 10


@pytest.mark.parametrize("count", [1, 3])
def test_interrupted_again_and_again(tmp_path: Path, count: int) -> None:
    """Every process runs for some calls of step, also in evaluations, and then dies."""
    uninterrupted = loop(tmp_path / "whole", count=count)
    uninterrupted()
    folder = tmp_path / "broken"
    for attempt in range(100):
        left = [40 + attempt % 7]

        def crash(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Crash

        finished = loop(folder, crash, count, shown=crash)
        try:
            finished()
        except Crash:
            continue
        break
    else:
        pytest.fail("it gets nowhere")
    assert attempt > 3
    assert outcome(finished) == outcome(uninterrupted)


def test_stopped_in_an_evaluation_and_at_the_end(tmp_path: Path) -> None:
    asked: list[int] = []

    class Interrupted(Student):
        def finish(self, pause: Callable[[str], None]) -> None:
            def stopping(text: str) -> None:
                if self.finished == 3:
                    asked.append(1)
                pause(text)

            super().finish(stopping)

    def stop() -> bool:
        return bool(asked)

    assert not loop(tmp_path / "a", schedule=SELDOM, shown=lambda: asked.append(1), stop=stop)().finished
    asked.clear()
    stopped = loop(tmp_path / "a", schedule=SELDOM, agent=Interrupted(), stop=stop)
    assert stopped.progress.steps == 15
    assert stopped.progress.evaluated == 0
    assert not stopped().finished
    again = loop(tmp_path / "a", schedule=SELDOM)
    assert student(again).finished == 3  # nothing was lost
    again()
    uninterrupted = loop(tmp_path / "whole", schedule=SELDOM)
    uninterrupted()
    assert outcome(again) == outcome(uninterrupted)


def test_evaluations_change_nothing(tmp_path: Path) -> None:
    often, never = (loop(tmp_path / str(every), schedule=Steps(12, 90, every, 3)) for every in (3, 1000))
    often()
    never()
    assert student(often).seen == student(never).seen


def test_a_finished_run_goes_on_where_more_steps_are_asked_for(tmp_path: Path) -> None:
    loop(tmp_path)()
    again = loop(tmp_path)
    before = len(again.rows)
    again()
    assert len(again.rows) == before
    longer = loop(tmp_path, schedule=Steps(12, 120, 15, 2))
    assert longer().evaluation_steps == [15, 30, 45, 60, 75, 90, 105, 120]
    assert longer.rows[-1]["phase"] == "final"


def test_a_finished_run_is_shown_again_where_settings_changed(tmp_path: Path) -> None:
    loop(tmp_path)()
    again = loop(tmp_path, schedule=replace(SCHEDULE, evaluation_episodes=5))
    again.reopen()
    before, summary = len(again.rows), again().as_dict()
    assert len(again.rows) == before + 1
    assert summary["evaluation_steps"] == [15, 30, 45, 60, 75, 90]
    assert summary["final_evaluation_std"] != loop(tmp_path / "first")().final_evaluation_std
    last = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))[-1]
    assert (last["phase"], float(last["return"])) == ("final", summary["final_evaluation_mean"])


def test_what_is_all_at_random_is_refused() -> None:
    with pytest.raises(ValueError, match="steps: expected more than the 10000 random_steps, got 5000"):
        Steps(steps=5000)


def test_an_evaluation_by_hand() -> None:
    """The action is constant. The return of each episode equals that of the same seed played alone."""
    agent = Student()
    envs = together([Walk(), Walk(), Walk()])
    found = evaluate(agent, envs, lambda *_: True)
    assert found
    agent = Student()
    chosen = [agent.act(np.zeros((3, 2))) for _ in range(7)]
    for i, seed in enumerate(evaluation_seeds(3)):
        env, total, ended, length = Walk(), 0.0, False, 0
        env.reset(seed=seed)
        while not ended:
            _, reward, terminated, truncated, _ = env.step(chosen[length][i])
            total, length, ended = total + reward, length + 1, terminated or truncated
        assert found.returns[i] == total
        assert found.lengths[i] == length
        if i == found.returns.argmax():
            assert found.best_seed == seed
            assert np.array_equal(found.best_actions, np.stack([row[i] for row in chosen[:length]]))


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    calls: list[int] = []

    def sometimes(stop: int) -> Any:
        calls.append(0)
        return np.nan if len(calls) == stop else None

    said = r"Walk: expected finite numbers of 32 bits at step"
    with pytest.raises(ValueError, match=said + r" \d of episode \d+, .*; the last checkpoint is .*000001.json"):
        loop(tmp_path / "a", lambda: sometimes(40), schedule=SELDOM)()
    assert loop(tmp_path / "a").progress.steps == 39  # step 40 is in the first environment's 14th step
    calls.clear()
    with pytest.raises(ValueError, match=said + r" 3 of evaluation episode 1, got reward .*000001.json"):
        loop(tmp_path / "b", shown=lambda: sometimes(5), schedule=SELDOM)()
    again, uninterrupted = loop(tmp_path / "b", schedule=SELDOM), loop(tmp_path / "c")
    again()
    uninterrupted()
    assert outcome(again) == outcome(uninterrupted)


def test_a_number_too_large_for_32_bits(tmp_path: Path) -> None:
    """It is finite in the environment, but not in the replay buffer."""
    broken = loop(tmp_path, lambda: 1e39 if len(student(broken).seen) > 40 else None)
    with pytest.raises(ValueError, match=r"finite numbers of 32 bits at step .*1.e\+39"):
        broken()
    assert np.abs(student(loop(tmp_path)).seen).max() < 1e6


def test_an_episode_that_begins_with_what_is_not_finite(tmp_path: Path) -> None:
    """In the loop and in an evaluation. Nothing is learned from it."""
    for which, where in (("envs", "episode 2"), ("evaluation", "evaluation episode 2")):
        broken = loop(tmp_path / which)
        envs = broken.envs.envs if which == "envs" else broken.evaluation
        walk: Any = envs.envs[1].env  # type: ignore[union-attr]
        walk._seen = lambda: np.full(2, np.nan)
        with pytest.raises(ValueError, match=f"32 bits at the beginning of {where}, got observation "):
            broken()
        assert np.isfinite(student(broken).seen).all()


def test_an_episode_later_that_begins_so(tmp_path: Path) -> None:
    """The run before it is saved, and resumes when the environment works again."""
    broken = loop(tmp_path, count=1, schedule=SELDOM)
    walk: Any = broken.envs.envs.envs[0].env  # type: ignore[attr-defined]
    walk._seen = lambda seen=walk._seen: np.full(2, np.nan) if walk.age == 0 and broken.progress.steps > 40 else seen()
    with pytest.raises(ValueError, match=r"32 bits at the beginning of episode \d+, .*000001.json"):
        broken()
    again = loop(tmp_path, count=1, schedule=SELDOM)
    assert again.progress.steps == broken.progress.steps > 40
    again()
    uninterrupted = loop(tmp_path / "whole", count=1)
    uninterrupted()
    assert outcome(again) == outcome(uninterrupted)


def test_an_agent_that_diverges_is_not_saved(tmp_path: Path) -> None:
    class Diverging(Student):
        def non_finite(self) -> str | None:
            return "weights that are not" if self.improved >= 40 else None

    broken = loop(tmp_path, agent=Diverging())
    with pytest.raises(
        ValueError, match=r"finite numbers after 54 steps, got weights that are not; the last checkpoint is"
    ):
        broken()
    assert student(loop(tmp_path)).improved == 39


def test_every_row_is_in_tensorboard_once(tmp_path: Path) -> None:
    """Also for several rows at once, and after a resume."""
    loop(tmp_path, schedule=Steps(12, 30, 15, 2))()
    longer = loop(tmp_path)
    longer()
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    for phase in ("learning", "evaluation", "final"):
        expected = [(row["env_steps"], pytest.approx(row["return"])) for row in longer.rows if row["phase"] == phase]
        assert [(event.step, event.value) for event in events.Scalars(f"{phase}/return")] == expected


def test_bounds_that_are_no_numbers_of_float32(tmp_path: Path) -> None:
    class Narrow(Walk):
        action_space = Box(-0.1, 0.1, (1,), np.float64)

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            assert self.action_space.contains(action)
            return super().step(action)

    envs, run = together([Narrow()]), RunFolder.begin(tmp_path, {})
    agent = Agent(TD3(network=Network.of(Architecture((4, 4)))), 2, envs.single_action_space, seed=0)
    with torch.no_grad():
        agent.nets.policy.mlp.biases[-1].fill_(100.0)  # always the upper bound: 0.1, in float32 beyond it
    Loop(agent, envs, run, Steps(3, 20, 10, 1), 0, evaluation=together([Narrow()]))()


def test_how_many_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Walk: expected one environment for a schedule of episodes, got 2"):
        Loop(Student(), together([Walk(), Walk()]), RunFolder.begin(tmp_path / "a", {}), Episodes(), 0)
    loop(tmp_path / "b")()
    with pytest.raises(ValueError, match="Walk: expected 3 environments, as in the checkpoint, got 2"):
        loop(tmp_path / "b", count=2)


def test_environments_in_processes_of_their_own(tmp_path: Path) -> None:
    here, there = loop(tmp_path / "here"), loop(tmp_path / "there")
    envs = AsyncVectorEnv([Walk] * 3, autoreset_mode=AutoresetMode.DISABLED)
    there.envs = Arena(envs, there.progress.at_step, there.progress.at_beginning)
    here()
    there()
    envs.close()
    assert outcome(there) == outcome(here)
