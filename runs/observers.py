"""Who watches a run: the screen, files, pictures, a user's own."""

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
    """How things stand, at every step and every epoch of a lesson."""

    phase: str  # random, learning, evaluation, final; lesson, finishing, filming
    episode: int  # of the first environment, from 0 on
    env_steps: int  # learned from
    wall_s: float
    length: int = 0  # of the episode so far
    total: float = 0.0  # its return so far
    act_ms: float | None = None
    text: str = ""  # how a lesson, an evaluation or a film stands


class Observer:
    """Does nothing yet: a subclass overrides what it wants to hear of.

    All is called by the thread that runs `train`. An observer that raises is dropped, and the run goes on.
    """

    speaks = False  # whether a person reads what `tell` is told

    def began(self, run: Watched) -> None:
        """The run begins, or goes on with rows that are there already."""

    def tell(self, text: str) -> None:
        """A line that a person should read."""

    def status(self, status: Status) -> None:
        """At every step."""

    def row(self, row: Row) -> None:
        """An episode ended, or an evaluation: see `elites.runs.progress.Row`."""

    def saving(self) -> None:
        """A checkpoint follows: what it holds must not be missing elsewhere once it is written."""

    def saved(self, checkpoint: Path) -> None:
        """It is on the disk."""

    def ended(self, summary: Summary) -> None:
        """The run is at its end, or was stopped: see `summary.finished`."""

    def close(self) -> None:
        """Called last, whatever the run ended with."""


@dataclass(frozen=True)
class Watched:
    """A run as its observers may see it, and must leave it."""

    folder: Path
    env: str
    spec: EnvSpec | None  # of one of its environments; None where it was not made by its id
    seed: int
    schedule: Schedule
    agent: Learner
    progress: Progress
    observers: Observer  # all of them, for one that has something to tell

    @property
    def rows(self) -> Sequence[Row]:
        """Of all that came so far, in a run that goes on as well; it grows."""
        return self.progress.rows

    @property
    def best(self) -> Best | None:
        """The best planned episode that can be gone through again."""
        return self.progress.best


class Observers(Observer):
    """Several as one, without those that have raised."""

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
        """To those who speak, and as a warning where nobody does."""
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
