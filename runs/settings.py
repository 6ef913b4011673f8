"""The base class of a run's settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import gymnasium
import torch

from elites.agents.learner import Learner
from elites.fields import Count, Range
from elites.runs.environments import Environments, make, together
from elites.runs.folder import RunFolder
from elites.runs.loop import Loop
from elites.runs.observers import Observers
from elites.runs.run import Run
from elites.runs.schedule import Schedule

if TYPE_CHECKING:
    from elites.runs.summary import Summary

Seed = Annotated[int, Range(0, 2**32 - 1)]  # NumPy's


@dataclass(frozen=True)
class RunSettings(Schedule, ABC):
    """A schedule, an environment and an agent: the input of `train`.

    A subclass has hyperparameters as its fields, and makes the agent from them. Instances can be pickled. A resumed run
    can change all fields except those in FIXED.
    """

    FIXED: ClassVar[tuple[str, ...]] = ("env", "seed")
    env: str = ""  # a Gymnasium id
    episode_steps: Count | None = None  # the most steps of an episode; None is the environment's own limit
    seed: Seed = 0  # seed of all randomness

    @abstractmethod
    def make_agent(self, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> Learner:
        """A new agent. env: one of its environments. Only the spaces and the id are used."""

    def prepare(self, agent: Learner) -> None:
        """Prepares a new agent of a new run, such as with recorded data."""

    @property
    def env_name(self) -> str:
        """The id without the module and the namespace before it, which a folder cannot have in its name."""
        return self.env.rpartition(":")[2].rpartition("/")[2]

    @abstractmethod
    def title(self) -> str:
        """The default name of the run's folder."""

    @abstractmethod
    def report(self, summary: Summary) -> str:
        """The result, in one line."""

    def make_run(
        self,
        agent: Learner,
        envs: Environments,
        folder: RunFolder,
        evaluation: Environments | None,
        observers: Observers,
        stop: Callable[[], bool],
    ) -> Run:
        return Loop(agent, envs, folder, self, self.seed, evaluation=evaluation, observers=observers, stop=stop)

    def make_environment(self) -> gymnasium.Env[Any, Any]:
        return make(self.env, self.episode_steps)

    def make_environments(self) -> Environments:
        """The environments for learning."""
        return together([self.make_environment()])

    def make_evaluation_environments(self) -> Environments | None:
        """The environments for evaluations during learning. None if the schedule has none."""
        return None
