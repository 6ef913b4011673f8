"""What a run is made of: the base of every kind of settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import gymnasium
import torch

from elites.agents.learner import Learner
from elites.fields import Count, Range
from elites.runs.environments import Environments, make, together
from elites.runs.schedule import Schedule

if TYPE_CHECKING:
    from elites.runs.summary import Summary

Seed = Annotated[int, Range(0, 2**32 - 1)]  # NumPy's


@dataclass(frozen=True)
class RunSettings(Schedule, ABC):
    """A schedule, an environment and an agent: all that `train` asks for.

    A kind of settings has the hyperparameters as its fields, and says what to make of them. It pickles. A run can
    go on with other values for all fields but those in FIXED.
    """

    FIXED: ClassVar[tuple[str, ...]] = ("env", "seed")
    env: str = ""  # a Gymnasium id
    episode_steps: Count | None = None  # None is the environment's own limit
    seed: Seed = 0  # of everything that is random

    @abstractmethod
    def make_agent(self, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> Learner:
        """A new agent. env: one that it will act in, of which it looks at the spaces and the id."""

    @abstractmethod
    def title(self) -> str:
        """What a folder of such a run is called."""

    @abstractmethod
    def report(self, summary: Summary) -> str:
        """What came out, in one line."""

    def make_environment(self) -> gymnasium.Env[Any, Any]:
        return make(self.env, self.episode_steps)

    def make_environments(self) -> Environments:
        """Those to learn in."""
        return together([self.make_environment()])

    def make_evaluation_environments(self) -> Environments | None:
        """Those to be evaluated in between; None where the schedule has no such evaluations."""
        return None
