"""The schedule of random actions, learning and evaluations, counted in episodes, in steps or in generations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from elites.fields import Checked, Count, NonNegative, Range

Natural = Annotated[int, Range(0)]
Phase = Literal["random", "learning", "evaluation"]


@dataclass(frozen=True)
class Schedule(Checked):
    """The base of schedules. Slow checkpoints are written less often: they take at most 5 % of the time."""

    along: ClassVar[str]  # the figure that it counts
    checkpoint_s: NonNegative = field(default=30.0, kw_only=True)  # least seconds between two checkpoints

    def phase(self, episode: int, steps: int) -> Phase | None:
        """The phase of the next step, after `steps` steps. None at the end."""
        raise NotImplementedError

    def evaluates(self, along: int, evaluated: int) -> bool:
        """Whether an evaluation is due after so many steps or generations. evaluated: at the last evaluation."""
        return False

    @property
    def offline(self) -> Sequence[int]:
        """The numbers of updates from recorded data at which to evaluate. The last one is the number of all of them."""
        return ()

    def progress(self, episode: int, steps: int) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Episodes(Schedule):
    """Episodes in one environment: first random ones, then planned ones, then evaluation without learning."""

    along = "episode"
    random_episodes: Natural = 5  # first episodes, with random actions
    episodes: Count = 8  # planned episodes, each after a lesson
    evaluation_episodes: Natural = 0  # last episodes, without learning

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
    """Random steps, then learning at every step. Evaluations play the same episodes each time; one is at the end."""

    along = "env_steps"
    random_steps: Natural | None = None  # first steps, with random actions; None is the agent's own number, or 10,000
    steps: Natural = 100_000  # all steps, random ones included
    evaluate_every: Count = 5_000  # steps, or updates from recorded data, between two evaluations
    evaluation_episodes: Natural = 10  # episodes of each evaluation; 0 is no evaluation

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps <= self.at_random and not self.offline:
            raise ValueError(f"steps: expected more than the {self.at_random} random_steps, got {self.steps}")

    @property
    def at_random(self) -> int:
        """The number of first steps with random actions."""
        return 10_000 if self.random_steps is None else self.random_steps

    def phase(self, episode: int, steps: int) -> Phase | None:
        if steps >= self.steps:
            return None
        return "random" if steps < self.at_random else "learning"

    def evaluates(self, along: int, evaluated: int) -> bool:
        return along // self.evaluate_every > max(evaluated, self.at_random) // self.evaluate_every

    def progress(self, episode: int, steps: int) -> str:
        return f"step {steps:{len(str(self.steps))}d}/{self.steps}"


@dataclass(frozen=True)
class Generations(Schedule):
    """Generations. Evaluations play the same episodes each time; one is at the end."""

    along = "env_steps"
    generations: Count = 100  # rounds of playing all candidates
    evaluate_every: Count = 10  # generations between two evaluations
    evaluation_episodes: Natural = 10  # episodes of each evaluation; 0 is no evaluation

    def phase(self, number: int, steps: int) -> Phase | None:
        return "learning" if number < self.generations else None

    def evaluates(self, along: int, evaluated: int) -> bool:
        return along // self.evaluate_every > evaluated // self.evaluate_every

    def progress(self, number: int, steps: int) -> str:
        return f"generation {number:{len(str(self.generations))}d}/{self.generations}"
