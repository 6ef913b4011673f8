"""The observers of a run: the screen, files, pictures, or a user's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gymnasium.envs.registration import EnvSpec

from elites.agents.learner import Learner
from elites.runs.faults import in_a_line
from elites.runs.progress import Best, Progress, Row
from elites.runs.schedule import Schedule
from elites.runs.summary import Summary


class Status(NamedTuple):
    """The state of a run, at every step and every epoch of a lesson."""

    phase: str  # random, learning, evaluation, final; lesson, finishing, filming
    episode: int  # of the first environment, from 0 on
    env_steps: int  # steps learned from
    wall_s: float
    length: int = 0  # steps of the episode so far
    total: float = 0.0  # return of the episode so far
    act_ms: float | None = None
    text: str = ""  # the status of a lesson, an evaluation or a film


class Observer:
    """Does nothing. A subclass overrides the methods that it needs.

    The thread of `train` calls every method. If an observer raises, it is dropped and the run continues.
    """

    speaks = False  # whether a person reads the lines of `tell`

    def began(self, run: Watched) -> None:
        """The run begins, or resumes with earlier rows."""

    def tell(self, text: str) -> None:
        """A line that a person should read."""

    def status(self, status: Status) -> None:
        """Called at every step."""

    def row(self, row: Row) -> None:
        """An episode or an evaluation ended: see `elites.runs.progress.Row`."""

    def saving(self) -> None:
        """A checkpoint follows. Files must be written now: a resumed run does not repeat rows before it."""

    def saved(self, checkpoint: Path) -> None:
        """The checkpoint is on the disk."""

    def ended(self, summary: Summary) -> None:
        """The run ended or was stopped: see `summary.finished`."""

    def close(self) -> None:
        """Called last, even after an error."""


@dataclass(frozen=True)
class Watched:
    """A run for its observers. They must not change it."""

    folder: Path
    env: str
    spec: EnvSpec | None  # the spec of one environment; None if it was not made by an id
    seed: int
    schedule: Schedule
    agent: Learner
    progress: Progress
    observers: Observer  # all observers, for an observer that has something to tell

    @property
    def rows(self) -> Sequence[Row]:
        """All rows so far, also those before a resume. The list grows."""
        return self.progress.rows

    @property
    def best(self) -> Best | None:
        """The best planned episode that can be replayed."""
        return self.progress.best


class Observers(Observer):
    """Several observers as one. Drops observers that raise."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._watching = list(observers)

    def _each(self, call: Callable[[Observer], None]) -> None:
        for observer in tuple(self._watching):
            try:
                call(observer)
            except Exception as error:
                self._watching.remove(observer)
                name = type(observer).__name__
                self.tell(f"{name}: expected an observer that raises nothing, got {in_a_line(error)}; it is dropped")

    def tell(self, text: str) -> None:
        """Tells all observers. If none of them speaks, warns."""
        self._each(lambda observer: observer.tell(text))
        if not any(observer.speaks for observer in self._watching):
            warnings.warn(text, stacklevel=2)

    def began(self, run: Watched) -> None:
        self._each(lambda observer: observer.began(run))

    def status(self, status: Status) -> None:
        self._each(lambda observer: observer.status(status))

    def row(self, row: Row) -> None:
        self._each(lambda observer: observer.row(row))

    def saving(self) -> None:
        self._each(lambda observer: observer.saving())

    def saved(self, checkpoint: Path) -> None:
        self._each(lambda observer: observer.saved(checkpoint))

    def ended(self, summary: Summary) -> None:
        self._each(lambda observer: observer.ended(summary))

    def close(self) -> None:
        self._each(lambda observer: observer.close())
