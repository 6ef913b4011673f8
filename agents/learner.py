"""The interface between the training loop and an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor

Array = NDArray[Any]  # of any dtype: observations can have 64 bits, actions can be integers
State = dict[str, Any]  # for checkpoints: nested mappings and lists of tensors, `Grown` and JSON values


@dataclass(frozen=True, eq=False)
class Transition:
    """A step of n of the N environments of an agent. Each row belongs to one environment."""

    observation: Array  # (n, S)
    action: Array  # (n, A), or (n,) integers: the action that the environment executed
    reward: Array  # (n,)
    next_observation: Array  # (n, S); if an episode ended, its last observation
    terminated: Array  # (n,) bool
    truncated: Array  # (n,) bool
    where: Array  # (n,) integers: the index of each row's environment

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
        """A transition of a single environment."""
        row = (observation, action, reward, next_observation, terminated, truncated, where)
        return cls(*(np.asarray(part)[None] for part in row))


class Learner(ABC):
    """An agent in N environments at once: observations (N, S), actions (N, A) in the environments' own form."""

    TOLD: ClassVar[tuple[str, ...]] = ()  # figures to show after every episode

    rng: Generator

    def begin(self, which: Array) -> None:  # noqa: B027
        """New episodes begin in the environments with which (N) true."""

    @abstractmethod
    def act(self, observation: Array, explore: bool = True) -> Array:
        """explore: collect data; else act as well as possible."""

    @abstractmethod
    def act_at_random(self, count: int) -> Array:
        """Random actions for `count` environments."""

    @abstractmethod
    def observe(self, step: Transition) -> None:
        """Takes the result of the last actions."""

    def improve(self, steps: int) -> None:  # noqa: B027
        """Learns after `steps` new steps. It must be quick: the loop waits for it at every step."""

    def due(self, episode_begins: bool) -> bool:
        """Whether a lesson is due before the next action."""
        return False

    def learn(self, progress: Callable[[str], None]) -> dict[str, float]:
        """Runs a lesson and returns its figures. progress: takes a status line; if it raises, the lesson is void."""
        return {}

    def study(self, updates: int, pause: Callable[[str], None]) -> None:  # noqa: B027
        """Learns from data that it holds, until it has made this many updates. pause: as in `finish`."""

    def figures(self) -> dict[str, float]:
        """Figures of learning since the last call."""
        return {}

    def non_finite(self) -> str | None:
        """The learned values that are not finite, in words; None if all are finite."""
        return None

    def finish(self, pause: Callable[[str], None]) -> None:  # noqa: B027
        """Learns when all data is there. pause: can save a checkpoint and raise. A later call continues from there."""

    def summary(self) -> dict[str, float | str]:
        """Figures of the whole run."""
        return {}

    @abstractmethod
    def state_dict(self) -> State: ...

    @abstractmethod
    def load_state_dict(self, state: State) -> None: ...


def restore(rng: Generator, state: Tensor) -> None:
    """Restores a generator's state, on a device of the same type."""
    try:
        rng.set_state(state.cpu())
    except RuntimeError:
        raise ValueError(f"expected a checkpoint from {rng.device.type}, got another device (--device)") from None
