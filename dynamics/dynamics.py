"""The base class of models of the world."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Generator, Tensor

Act = Callable[[Tensor], Tensor]
Drawn = TypeVar("Drawn")  # all randomness of a rollout, drawn before it starts


class Dynamics(ABC, Generic[Drawn]):
    """A batched model of the world. Subclasses override the properties that differ."""

    @abstractmethod
    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> Drawn:
        """All randomness of a rollout: shared by all candidates, or separate for each of `candidates`, (*B, N)."""

    def means(self, horizon: int) -> Drawn:
        """A rollout's data without noise: one particle for each mean that the model has."""
        name = type(self).__name__
        raise ValueError(f"{name}: expected a model whose noise can be left out, for gradients of its means")

    @abstractmethod
    def rollout(self, state: Tensor, actions: Tensor, drawn: Drawn) -> Tensor:
        """state (*B, S), actions (*B, N, H, A) -> the next states, (*B, N, P, H, S)."""

    def rough_rollout(self, state: Tensor, actions: Tensor, drawn: Drawn) -> Tensor:
        """The same rollout, only as exact as sampling needs."""
        return self.rollout(state, actions, drawn)

    def react(
        self, state: Tensor, act: Act, candidates: tuple[int, ...], horizon: int, drawn: Drawn, rough: bool = False
    ) -> tuple[Tensor, Tensor]:
        """A rollout in closed loop: state (*B, S), and `act` from states (R, P, S) to actions (R, P, A).

        candidates: (*B, N), whose product is R. Gives actions (*B, N, P, H, A) and next states (*B, N, P, H, S).
        """
        name = type(self).__name__
        raise ValueError(f"{name}: expected a model with a closed-loop rollout, for plans that are policies")

    @property
    def chunk(self) -> int:
        """The number of rollouts to compute at once."""
        return 8192

    @property
    def deterministic(self) -> bool:
        """Whether the model has no randomness, so one particle is enough."""
        return False

    @property
    def differentiable(self) -> bool:
        """Whether states have a gradient towards actions and state."""
        return True

    @property
    def engine(self) -> str | None:
        """The engine of the last rollout's networks: "kernel", "cuda" or "torch". None for a model without networks."""
        return None

    def check_gradient(self, *tensors: Tensor) -> None:
        """Raises a ValueError if a caller wants a gradient that the model does not have."""
        if not self.differentiable and torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
            name = type(self).__name__
            raise ValueError(f"{name}: has no gradient; expected a sampling planner, such as CEM or MPPI")


def poses_as_dynamics(value: Any) -> bool:
    """Whether this has a model's methods without being a `Dynamics`."""
    return not isinstance(value, Dynamics) and hasattr(value, "draw") and hasattr(value, "rollout")
