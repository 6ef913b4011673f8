"""Who watches a run: the screen, files, pictures, a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium.envs.registration import EnvSpec

from elites.agents.learner import Learner
from elites.runs.schedule import Schedule
from elites.runs.summary import Summary

Row = dict[str, Any]  # of an episode or an evaluation: see `elites.runs.loop`


@dataclass(frozen=True)
class Best:
    """The best planned episode: with these actions (T, *A) after this seed it can be gone through once more."""

    total: float
    seed: int
    actions: Any


@dataclass(frozen=True)
class Watched:
    """A run as its observers may see it, and must leave it."""

    folder: Path
    env: str
    spec: EnvSpec | None  # of one of its environments; None where it was not made by its id
    seed: int
    schedule: Schedule
    agent: Learner
    rows: Sequence[Row]  # of all that came so far, in a run that goes on as well; it grows

    @property
    def best(self) -> Best | None:
        raise NotImplementedError


@dataclass(frozen=True)
class Status:
    """How things stand, at every step and every epoch of a lesson."""

    phase: str  # random, learning, evaluation, final; lesson, finish, pictures
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

    def status(self, status: Status) -> None: ...

    def row(self, row: Row) -> None:
        """An episode ended, or an evaluation: phase, env_steps, return, length and what the agent has figures of."""

    def saving(self) -> None:
        """A checkpoint follows: what it holds must not be missing elsewhere once it is written."""

    def saved(self, checkpoint: Path) -> None: ...

    def ended(self, summary: Summary) -> None:
        """It is at its end, or was stopped: see `summary.finished`."""

    def close(self) -> None:
        """Called last, whatever the run ended with."""
