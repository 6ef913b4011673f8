"""The base of every run: rows, evaluations, checkpoints, to the end of its schedule or until it is stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gymnasium.envs.registration import EnvSpec

from elites.agents.learner import Learner
from elites.runs import chance, summary
from elites.runs.environments import Environments
from elites.runs.evaluation import evaluate_checked
from elites.runs.faults import EnvironmentFault, Fault, Stopped, fitting
from elites.runs.folder import RunFolder
from elites.runs.meter import Meter
from elites.runs.observers import Observer, Observers, Status, Watched
from elites.runs.progress import Progress, Row
from elites.runs.saving import Saver
from elites.runs.schedule import Phase, Schedule
from elites.runs.summary import Summary


def never() -> bool:
    return False


class Run(ABC):
    """A run of an agent. A subclass has its rounds: a step of environments, or a generation of policies.

    evaluation: environments for evaluations during learning. stop: called often; True stops the run.
    """

    progress: Progress

    def __init__(
        self,
        agent: Learner,
        name: str,
        spec: EnvSpec | None,
        folder: RunFolder,
        schedule: Schedule,
        evaluation: Environments | None,
        observers: Sequence[Observer] | Observers,
        stop: Callable[[], bool],
    ) -> None:
        self.agent, self.name, self.spec, self.folder, self.schedule = agent, name, spec, folder, schedule
        self.evaluation, self.stop, self.meter = evaluation, stop, Meter()
        self.observers = observers if isinstance(observers, Observers) else Observers(observers)
        self.saver = Saver(folder, self.observers, schedule.checkpoint_s)

    @property
    def rows(self) -> list[Row]:
        return self.progress.rows

    def __call__(self) -> Summary:
        """Runs, or resumes, to the end of the schedule or until it is stopped."""
        who = self.agent, self.progress, self.observers
        self.observers.began(Watched(self.folder.path, self.name, self.spec, self.progress.seed, self.schedule, *who))
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

    @property
    def phase(self) -> Phase | None:
        """The phase of the next round. None at the end."""
        return self.schedule.phase(self.progress.number, self.progress.steps)

    @abstractmethod
    def _begin(self) -> None:
        """Prepares the first round of this process."""

    @abstractmethod
    def _round(self, phase: Phase) -> None: ...

    def close(self) -> None:  # noqa: B027
        """Ends what the run has begun besides its environments."""

    def _go_on(self) -> None:
        self._begin()
        while phase := self.phase:
            if self.evaluation and self.schedule.evaluates(self.progress.along, self.progress.evaluated):
                self._evaluate("evaluation")
            self._round(phase)
        self.agent.finish(lambda text: self._pause(self._status("finishing", text=text)))
        if self.evaluation and not any(map(self._is_last, self.rows)):
            self._evaluate("final")

    def _is_last(self, row: Row) -> bool:
        return bool(row["phase"] == "final" and row["env_steps"] == self.progress.steps)

    def reopen(self) -> None:
        """Removes the final evaluation of an ended run, so that changed settings are evaluated again."""
        if not self.phase:
            self.rows[:] = [row for row in self.rows if not self._is_last(row)]

    def _lesson(self) -> None:
        self._save()  # so a stop during the lesson loses nothing

        def progress(text: str) -> None:
            self.observers.status(self._status("lesson", text=text))
            if self.stop():
                raise Stopped

        self.progress.figures = self.agent.learn(progress)

    # --- rows and evaluations ----------------------------------------------------------------------------------------

    def _evaluate(self, phase: str, more: Mapping[str, float] | None = None) -> None:
        assert self.evaluation

        def on(step: int, under_way: int) -> bool:
            self.observers.status(self._status(phase, text=f"{phase}  step {step}  {under_way} episodes under way"))
            return not self.stop()

        self._check_agent()
        now = self.progress
        found = evaluate_checked(self.agent, self.evaluation, on)
        if found is None:
            self._save()
            raise Stopped
        now.evaluated = now.along
        now.consider(float(found.returns.max()), found.best_seed, found.best_actions)
        self._note({"phase": phase, "env_steps": now.steps, **found.figures(), **(more or {})})

    def _note(self, row: Row) -> None:
        self.rows.append(row)
        self.observers.row(row)

    def _status(
        self, phase: str, length: int = 0, total: float = 0.0, act_ms: float | None = None, text: str = ""
    ) -> Status:
        now = self.progress
        return Status(phase, now.number, now.steps, self.meter.wall_s, length, total, act_ms, text)

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
        self.progress.load_state_dict(state)
        self.agent.load_state_dict(state["agent"])
        chance.set_global_state(state["random"])
        self.meter.load_state_dict(state)
