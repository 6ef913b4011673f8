"""What the loop knows of an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor

Array = NDArray[Any]  # of any dtype: observations may have 64 bits, actions may be integers
State = dict[str, Any]  # nested mappings and lists of tensors, `Grown` and JSON values: what a checkpoint can hold


@dataclass(frozen=True, eq=False)
class Transition:
    """A step of n environments, of the N that an agent acts in. A row is one environment's."""

    observation: Array  # (n, S)
    action: Array  # (n, A), or (n,) integers: as the environment executed it
    reward: Array  # (n,)
    next_observation: Array  # (n, S); where an episode ended, its last observation
    terminated: Array  # (n,) bool
    truncated: Array  # (n,) bool
    where: Array  # (n,) integers: the number of each row's environment, from 0 on

    @classmethod
    def one(
        cls,
        observation: Array,
        action: Array,
        reward: float,
        next_observation: Array,
        terminated: bool,
        truncated: bool,
        where: int = 0,
    ) -> Transition:
        """Of a single environment."""
        row = (observation, action, reward, next_observation, terminated, truncated, where)
        return cls(*(np.asarray(part)[None] for part in row))


class Learner(ABC):
    """An agent in N environments at once: observations (N, S), actions (N, A) in the environments' own terms."""

    TOLD: ClassVar[tuple[str, ...]] = ()  # those of its figures that a person wants to see of every episode

    rng: Generator

    def begin(self, which: Array) -> None:  # noqa: B027
        """New episodes begin where this (N) is true."""

    @abstractmethod
    def act(self, observation: Array, explore: bool = True) -> Array:
        """explore: for data; else to show what was learned."""

    @abstractmethod
    def act_at_random(self, count: int) -> Array:
        """Actions for so many environments."""

    @abstractmethod
    def observe(self, step: Transition) -> None:
        """What came of the last actions."""

    def improve(self, steps: int) -> None:  # noqa: B027
        """Called after so many steps of learning; takes no longer than a step may."""

    def due(self, episode_begins: bool) -> bool:
        """Whether it is time for a lesson, before the next action."""
        return False

    def learn(self, progress: Callable[[str], None]) -> dict[str, float]:
        """A lesson: its figures. progress: takes how things stand, and may raise; then the lesson did not happen."""
        return {}

    def figures(self) -> dict[str, float]:
        """How learning has gone since the last call."""
        return {}

    def non_finite(self) -> str | None:
        """What it has learned that is not finite, if anything."""
        return None

    def finish(self, pause: Callable[[str], None]) -> None:  # noqa: B027
        """What is learned when all data is there. pause: may save, and raise; a later call goes on from there."""

    def summary(self) -> dict[str, float | str]:
        """Figures of the whole run."""
        return {}

    @abstractmethod
    def state_dict(self) -> State: ...

    @abstractmethod
    def load_state_dict(self, state: State) -> None: ...


def restore(rng: Generator, state: Tensor) -> None:
    """A generator as it was, on a device of the same kind."""
    try:
        rng.set_state(state.cpu())
    except RuntimeError:
        raise ValueError(f"expected a checkpoint from {rng.device.type}, got another device's (--device)") from None
