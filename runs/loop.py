"""The loop of every learning agent: steps, lessons, evaluations, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from elites.agents.learner import Learner, Transition
from elites.agents.lockstep import Step
from elites.runs import chance, going_on, summary
from elites.runs.arena import Arena
from elites.runs.environments import Environments, episode_seed, name_and_spec, together
from elites.runs.evaluation import evaluate_checked
from elites.runs.faults import EnvironmentFault, Fault, Stopped, fitting
from elites.runs.folder import RunFolder
from elites.runs.meter import Meter
from elites.runs.observers import Observer, Observers, Status, Watched
from elites.runs.progress import Progress, Row
from elites.runs.saving import Saver
from elites.runs.schedule import Episodes, Phase, Schedule
from elites.runs.summary import Summary

Array = NDArray[Any]


def never() -> bool:
    return False


class Loop:
    """Runs an agent in N environments at once, to the end of a schedule.

    A resumed run replays its interrupted episodes with the same seeds and actions. This needs environments without
    autoreset, such as those of `together`. Other environments begin new episodes. envs: an environment, or a VectorEnv.
    evaluation: environments for evaluations during learning. stop: called at every step; True stops the run.
    """

    def __init__(
        self,
        agent: Learner,
        envs: gymnasium.Env[Any, Any] | Environments,
        folder: RunFolder,
        schedule: Schedule,
        seed: int,
        *,
        evaluation: Environments | None = None,
        observers: Sequence[Observer] | Observers = (),
        stop: Callable[[], bool] = never,
    ) -> None:
        self.agent, self.folder, self.schedule, self.stop = agent, folder, schedule, stop
        vector = envs if isinstance(envs, VectorEnv) else together([envs])
        self.progress, self.meter = Progress(seed, vector.num_envs), Meter()
        self.envs = Arena(vector, self.progress.at_step, self.progress.at_beginning)
        self.name, self.evaluation = self.envs.name, evaluation
        if isinstance(schedule, Episodes) and self.envs.count > 1:
            raise ValueError(f"{self.name}: expected one environment for a schedule of episodes, got {self.envs.count}")
        self.observers = observers if isinstance(observers, Observers) else Observers(observers)
        self.saver = Saver(folder, self.observers, schedule.checkpoint_s)
        self._resumed = False
        self._action: Array = np.empty(0)  # (N, *A): the last action
        self._act_ms: list[float] = []  # since the last end of an episode
        self._episode_began = np.full(self.envs.count, time.perf_counter())

    @property
    def rows(self) -> list[Row]:
        return self.progress.rows

    def __call__(self) -> Summary:
        """Runs, or resumes, to the end of the schedule or until it is stopped."""
        name, spec = name_and_spec(self.envs.envs)
        who = self.agent, self.progress, self.observers
        self.observers.began(Watched(self.folder.path, name, spec, self.progress.seed, self.schedule, *who))
        try:
            finished = self._to_the_end()
            found = summary.of(self.name, self.progress, self.meter, self.agent, bool(self.evaluation), finished)
            if finished:
                self.folder.summarise(found)
            self.observers.ended(found)
        finally:
            self.observers.close()
        return found

    def _to_the_end(self) -> bool:
        """Whether the run reached its end. If not, it was stopped."""
        try:
            with fitting(self.name, self.agent.rng.device, self._when):
                self._go_on()
                self._save()
        except Stopped:
            return False
        except Fault as fault:
            self._save()  # saves the run before the fault; raises instead if the agent's numbers caused it
            raise EnvironmentFault(f"{self.name}: {fault}; {self.saver.last}") from fault.__cause__
        return True

    def _when(self) -> str:
        return f"after {self.progress.steps} steps; {self.saver.last}"

    def _go_on(self) -> None:
        self._begin()
        self._study()
        while phase := self.schedule.phase(self.progress.numbers[0], self.progress.steps):
            if self.evaluation and self.schedule.evaluates(self.progress.steps, self.progress.evaluated):
                self._evaluate("evaluation")
            self._step(phase)
        self.agent.finish(lambda text: self._pause(self._status("finishing", text=text)))
        if self.evaluation and not any(map(self._is_last, self.rows)):
            self._evaluate("final")

    def _is_last(self, row: Row) -> bool:
        return bool(row["phase"] == "final" and row["env_steps"] == self.progress.steps)

    def reopen(self) -> None:
        """Removes the final evaluation of an ended run, so that changed settings are evaluated again."""
        if not self.schedule.phase(self.progress.numbers[0], self.progress.steps):
            self.rows[:] = [row for row in self.rows if not self._is_last(row)]

    def _study(self) -> None:
        """Learns from recorded data before the first step."""
        shown = {row.get("updates") for row in self.rows}
        for updates in self.schedule.offline:
            self.agent.study(updates, lambda text: self._pause(self._status("offline", text=text)))
            if self.evaluation and updates not in shown:
                self._evaluate("evaluation", {"updates": updates} | self.agent.figures())

    # --- a step ------------------------------------------------------------------------------------------------------

    def _step(self, phase: Phase) -> None:
        now = self.progress
        fresh = not all(now.actions) and bool((now.fresh & ~self.envs.waiting).any())
        if phase != "random" and self.agent.due(fresh) and (phase == "learning" or fresh):
            self._learn()
        if now.chosen is None:
            now.chosen = self._act(phase)
        action = self._action = now.chosen
        step = self.envs.step(action)
        if phase != "evaluation" and len(step.where):
            self._tell_agent(action, step)
        if phase == "learning":
            self.agent.improve(len(step.where))
        now.took(action, step)
        if (ended := step.ended).any():
            now.figures = now.figures | self.agent.figures()
            for i in np.flatnonzero(ended):
                self._finish(int(i), phase, bool(step.terminated[i]))
            now.renew(ended, self.envs.seeded)
            self._episode_began[ended], self._act_ms = time.perf_counter(), []
            if self.envs.seeded:
                self._begin_episodes(ended)
        if not self.envs.seeded and step.began.any():
            self.agent.begin(step.began)
        act_ms = self._act_ms[-1] if self._act_ms else None
        self._pause(self._status(phase, len(now.actions[0]), float(now.returns[0]), act_ms))

    def _act(self, phase: Phase) -> Array:
        if self.envs.waiting.all():
            return self._action  # the environments ignore it
        if phase == "random":
            return self.envs.executed(self.agent.act_at_random(self.envs.count))
        began = time.perf_counter()
        action = self.agent.act(self.progress.observation, explore=phase == "learning")
        self._act_ms.append(1e3 * (time.perf_counter() - began))
        return self.envs.executed(action)

    def _tell_agent(self, action: Array, step: Step) -> None:
        rows, before = step.rows, self.progress.observation
        ends = rows(step.terminated), rows(step.truncated)
        moved = rows(before), rows(action), rows(step.reward), rows(step.next_observation)
        self.agent.observe(Transition(*moved, *ends, step.where))
        self.progress.steps += len(step.where)

    def _learn(self) -> None:
        self._save()  # so a stop during the lesson loses nothing

        def progress(text: str) -> None:
            self.observers.status(self._status("lesson", text=text))
            if self.stop():
                raise Stopped

        self.progress.figures = self.agent.learn(progress)

    # --- episodes ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Brings every environment to its step in its episode."""
        now = self.progress
        observation = going_on.observations(self.envs, now, self._resumed, self.observers.tell)
        if not now.observation.size:
            self.agent.begin(now.fresh)
        now.observation = observation
        self._episode_began[:] = time.perf_counter()

    def _begin_episodes(self, ended: Array) -> None:
        """Begins the next episodes, with their seeds, in the environments with ended (N,) true."""
        self.progress.observation = np.empty(0)  # a checkpoint must not hold an observation that was not checked
        self.progress.observation = self.envs.reset(self.progress.seeds, ended)
        self.agent.begin(ended)

    def _finish(self, i: int, phase: Phase, terminated: bool) -> None:
        now = self.progress
        number, length, total = now.numbers[i], len(now.actions[i]), float(now.returns[i])
        pace = self.envs.count * length / max(time.perf_counter() - self._episode_began[i], 1e-9)
        row: Row = {"episode": number + 1, "phase": phase, "env_steps": now.steps, "return": total, "length": length}
        row |= {"terminated": terminated, **now.figures, "steps_per_s": pace}
        if self._act_ms:
            row["act_ms"] = float(np.median(self._act_ms))
        if phase != "random" and now.seeded[i]:
            now.consider(total, episode_seed(now.seed, number), np.stack(now.actions[i]))
        self._note(row)

    def _evaluate(self, phase: str, more: Mapping[str, float] | None = None) -> None:
        assert self.evaluation

        def on(step: int, under_way: int) -> bool:
            self.observers.status(self._status(phase, text=f"{phase}  step {step}  {under_way} episodes under way"))
            return not self.stop()

        self._check_agent()
        began, now = time.perf_counter(), self.progress
        found = evaluate_checked(self.agent, self.evaluation, on)
        if found is None:
            self._save()
            raise Stopped
        self._episode_began += time.perf_counter() - began
        now.evaluated = now.steps
        now.consider(float(found.returns.max()), found.best_seed, found.best_actions)
        self._note({"phase": phase, "env_steps": now.steps, **found.figures(), **(more or {})})

    def _note(self, row: Row) -> None:
        self.rows.append(row)
        self.observers.row(row)

    def _status(
        self, phase: str, length: int = 0, total: float = 0.0, act_ms: float | None = None, text: str = ""
    ) -> Status:
        now = self.progress
        return Status(phase, now.numbers[0], now.steps, self.meter.wall_s, length, total, act_ms, text)

    # --- to stop and to resume ----------------------------------------------------------------------------------------

    def _pause(self, status: Status) -> None:
        """A point at which the run can be saved and stopped."""
        self.observers.status(status)
        stop = self.stop()
        if stop or self.saver.due:
            self._save()
        if stop:
            raise Stopped

    def _check_agent(self) -> None:
        if found := self.agent.non_finite():
            steps, last = self.progress.steps, self.saver.last
            raise ValueError(f"{self.name}: expected finite numbers after {steps} steps, got {found}; {last}")

    def _save(self) -> None:
        self._check_agent()
        self.saver.save(self.state_dict)

    def state_dict(self) -> dict[str, Any]:
        of_all = {"agent": self.agent.state_dict(), "random": chance.global_state()}
        return of_all | self.progress.state_dict() | self.meter.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if (count := len(state["numbers"])) != self.envs.count:
            raise ValueError(f"{self.name}: expected {count} environments, as in the checkpoint, got {self.envs.count}")
        self.progress.load_state_dict(state)
        self.agent.load_state_dict(state["agent"])
        chance.set_global_state(state["random"])
        self.meter.load_state_dict(state)
        self._resumed = True
