"""The loop of every learning agent: episodes, steps and lessons."""

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
from elites.runs import going_on
from elites.runs.arena import Arena
from elites.runs.environments import Environments, episode_seed, name_and_spec, together
from elites.runs.folder import RunFolder
from elites.runs.observers import Observer, Observers
from elites.runs.progress import Row, Running
from elites.runs.run import Run, never
from elites.runs.schedule import Episodes, Phase, Schedule

Array = NDArray[Any]


class Loop(Run):
    """Runs an agent in N environments at once, to the end of a schedule.

    A resumed run replays its interrupted episodes with the same seeds and actions. This needs environments without
    autoreset, such as those of `together`. Other environments begin new episodes. envs: an environment, or a VectorEnv.
    evaluation: environments for evaluations during learning. stop: called at every step; True stops the run.
    """

    progress: Running

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
        vector = envs if isinstance(envs, VectorEnv) else together([envs])
        self.progress = Running(seed, vector.num_envs)
        self.envs = Arena(vector, self.progress.at_step, self.progress.at_beginning)
        super().__init__(agent, *name_and_spec(vector), folder, schedule, evaluation, observers, stop)
        if isinstance(schedule, Episodes) and self.envs.count > 1:
            raise ValueError(f"{self.name}: expected one environment for a schedule of episodes, got {self.envs.count}")
        self._resumed = False
        self._action: Array = np.empty(0)  # (N, *A): the last action
        self._act_ms: list[float] = []  # since the last end of an episode
        self._episode_began = np.full(self.envs.count, time.perf_counter())

    def _begin(self) -> None:
        self._rejoin()
        self._study()

    def _rejoin(self) -> None:
        """Brings every environment to its step in its episode."""
        now = self.progress
        observation = going_on.observations(self.envs, now, self._resumed, self.observers.tell)
        if not now.observation.size:
            self.agent.begin(now.fresh)
        now.observation = observation
        self._episode_began[:] = time.perf_counter()

    def _study(self) -> None:
        """Learns from recorded data before the first step."""
        shown = {row.get("updates") for row in self.rows}
        for updates in self.schedule.offline:
            self.agent.study(updates, lambda text: self._pause(self._status("offline", text=text)))
            if self.evaluation and updates not in shown:
                self._evaluate("evaluation", {"updates": updates} | self.agent.figures())

    # --- a step ------------------------------------------------------------------------------------------------------

    def _round(self, phase: Phase) -> None:
        now = self.progress
        fresh = not all(now.actions) and bool((now.fresh & ~self.envs.waiting).any())
        if phase != "random" and self.agent.due(fresh) and (phase == "learning" or fresh):
            self._lesson()
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

    # --- episodes ----------------------------------------------------------------------------------------------------

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
        began = time.perf_counter()
        super()._evaluate(phase, more)
        self._episode_began += time.perf_counter() - began

    # --- to resume ----------------------------------------------------------------------------------------------------

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if (count := len(state["numbers"])) != self.envs.count:
            raise ValueError(f"{self.name}: expected {count} environments, as in the checkpoint, got {self.envs.count}")
        super().load_state_dict(state)
        self._resumed = True
