"""When an agent acts at random, learns and is evaluated: counted in episodes, or in steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from elites.fields import Checked, Count, NonNegative, Range

Natural = Annotated[int, Range(0)]
Phase = Literal["random", "learning", "evaluation"]


@dataclass(frozen=True)
class Schedule(Checked):
    """What both have: a checkpoint every `checkpoint_s` seconds, or where one takes long, a twentieth of the time."""

    along: ClassVar[str]  # what it counts
    checkpoint_s: NonNegative = field(default=30.0, kw_only=True)  # seconds between checkpoints, at the least

    def phase(self, episode: int, steps: int) -> Phase | None:
        """Of the step that comes next, after so many; None at the end."""
        raise NotImplementedError

    def evaluates(self, steps: int, evaluated: int) -> bool:
        """Whether it is time for an evaluation in environments of its own, the last having been after so many steps."""
        return False

    def progress(self, episode: int, steps: int) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Episodes(Schedule):
    """In one environment: episodes at random, then planned ones, then some that only show what was learned."""

    along = "episode"
    random_episodes: Natural = 5  # of random actions, at first
    episodes: Count = 8  # planned ones, each after a lesson
    evaluation_episodes: Natural = 0  # at the end, without learning

    def phase(self, episode: int, steps: int) -> Phase | None:
        if episode < self.random_episodes:
            return "random"
        if episode < self.random_episodes + self.episodes:
            return "learning"
        return "evaluation" if episode < self.total else None

    def progress(self, episode: int, steps: int) -> str:
        return f"episode {episode + 1:3d}/{self.total}"

    @property
    def total(self) -> int:
        return self.random_episodes + self.episodes + self.evaluation_episodes


@dataclass(frozen=True)
class Steps(Schedule):
    """Steps at random, then learning with every step; evaluations, each of the same episodes, and one at the end."""

    along = "env_steps"
    random_steps: Natural = 10_000  # of random actions, at first
    steps: Count = 100_000  # in all
    evaluate_every: Count = 5_000  # steps
    evaluation_episodes: Natural = 10  # of each evaluation; 0 is no evaluation

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps <= self.random_steps:
            raise ValueError(f"steps: expected more than the {self.random_steps} random_steps, got {self.steps}")

    def phase(self, episode: int, steps: int) -> Phase | None:
        if steps >= self.steps:
            return None
        return "random" if steps < self.random_steps else "learning"

    def evaluates(self, steps: int, evaluated: int) -> bool:
        return steps // self.evaluate_every > max(evaluated, self.random_steps) // self.evaluate_every

    def progress(self, episode: int, steps: int) -> str:
        return f"step {steps:{len(str(self.steps))}d}/{self.steps}"
