"""The loop of a policy search: a crew plays a generation, and the agent learns from its returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from elites.agents.policy_search import PolicySearch
from elites.runs.environments import Environments, name_and_spec
from elites.runs.faults import Fault, Stopped
from elites.runs.folder import RunFolder
from elites.runs.observers import Observer, Observers
from elites.runs.progress import Progress
from elites.runs.run import Run, never
from elites.runs.schedule import Phase, Schedule
from elites.runs.workers import Crew, Generation
from elites.runs.workers.crew import EarlyStop


class Searching(Progress):
    """The progress in generations."""

    def __init__(self, seed: int, agent: PolicySearch) -> None:
        super().__init__(seed)
        self.agent = agent

    @property
    def number(self) -> int:
        return self.agent.generation

    @property
    def along(self) -> int:
        return self.number


class SearchLoop(Run):
    """Runs a policy search to the end of a schedule.

    A stopped run saves its generation, and a resumed run plays it again. envs: one environment of the task. episodes:
    of each candidate. common: whether all candidates of a generation have the same seeds.
    """

    agent: PolicySearch
    progress: Searching

    def __init__(
        self,
        agent: PolicySearch,
        envs: Environments,
        crew: Crew,
        folder: RunFolder,
        schedule: Schedule,
        seed: int,
        *,
        episodes: int = 1,
        common: bool = False,
        early: EarlyStop | None = None,
        evaluation: Environments | None = None,
        observers: Sequence[Observer] | Observers = (),
        stop: Callable[[], bool] = never,
    ) -> None:
        self.progress = Searching(seed, agent)
        super().__init__(agent, *name_and_spec(envs), folder, schedule, evaluation, observers, stop)
        self.crew, self.episodes, self.common, self.early = crew, episodes, common, early

    def close(self) -> None:
        self.crew.close()

    def _begin(self) -> None:
        if self.agent.due():
            self._lesson()

    def _round(self, phase: Phase) -> None:
        began, now = time.perf_counter(), self.progress
        points = self.agent.ask()
        seeds = seeds_of(now.seed, now.number, len(points), self.episodes, self.common)

        def watch(step: int, under_way: int) -> None:
            self.observers.status(self._status(phase, text=self._words(step, under_way)))
            if self.stop():
                self._save()
                raise Stopped

        generation = Generation(points, seeds, self.agent.inputs)
        try:
            scores = self.crew.play(generation, watch, self.early)
            took_s = time.perf_counter() - began
            if (elites := self.agent.to_record(scores)) is not None:
                self.agent.record(elites, self.crew.play(generation.again(elites), watch))
        except Fault as fault:
            where = f"{fault.expected} in generation {now.number + 1}"
            raise Fault(fault.number, where, fault.got) from fault.__cause__
        figures = self.agent.tell(scores)
        steps = int(scores.lengths.sum())
        now.steps += steps
        row = {"generation": now.number, "phase": phase, "env_steps": now.steps, "episodes": self.agent.episodes}
        self._note({**row, **figures, **now.figures, "steps_per_s": steps / took_s})
        if not np.isfinite(figures["return"]):
            self.observers.tell(f"generation {now.number}: no return is finite, so the search stays where it is")
        self._pause(self._status(phase, text=self._words(0, 0)))
        if self.agent.due():
            self._lesson()

    def _words(self, step: int, under_way: int) -> str:
        now = self.schedule.progress(self.progress.number, self.progress.steps)
        last = self.rows[-1] if self.rows else None
        found = f"  return {last['return']:.2f}, best {last['best']:.2f}" if last else ""
        return f"{now}{found}  step {step}, {under_way} episodes under way"

    def _evaluate(self, phase: str, more: Mapping[str, Any] | None = None) -> None:
        count = {"generation": self.progress.number, "episodes": self.agent.episodes}
        super()._evaluate(phase, {**count, **(more or {})})


def seeds_of(seed: int, generation: int, candidates: int, episodes: int, common: bool) -> np.ndarray[Any, Any]:
    """The seeds (N, R) of a generation's episodes."""
    count = episodes if common else candidates * episodes
    found = np.random.SeedSequence([seed, generation, 1]).generate_state(count)
    return np.broadcast_to(found.reshape(-1, episodes), (candidates, episodes))
