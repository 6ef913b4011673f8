"""What a model of the world is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import torch
from torch import Generator, Tensor

Drawn = TypeVar("Drawn")  # all randomness of a rollout, as a model draws it up front


class Dynamics(ABC, Generic[Drawn]):
    """A model of the world, batched. Subclasses say what is not as it is here."""

    @abstractmethod
    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> Drawn:
        """All randomness of a rollout: shared by all candidates, or, where (*B, N) is given, apart for each."""

    @abstractmethod
    def rollout(self, state: Tensor, actions: Tensor, drawn: Drawn) -> Tensor:
        """state (*B, S), actions (*B, N, H, A) -> the states that follow, (*B, N, P, H, S)."""

    def rough_rollout(self, state: Tensor, actions: Tensor, drawn: Drawn) -> Tensor:
        """The same, as exactly as sampling needs it."""
        return self.rollout(state, actions, drawn)

    @property
    def chunk(self) -> int:
        """Rollouts worth scoring at once."""
        return 8192

    @property
    def deterministic(self) -> bool:
        """Whether nothing is drawn, so that one particle is enough."""
        return False

    @property
    def differentiable(self) -> bool:
        """Whether states have a gradient towards actions and state."""
        return True

    @property
    def engine(self) -> str | None:
        """What computed the networks of the last rollout: "kernel" or "torch"; None where there are none."""
        return None

    def check_gradient(self, *tensors: Tensor) -> None:
        """Refuses these inputs of a rollout where a gradient is wanted that does not exist."""
        if not self.differentiable and torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
            name = type(self).__name__
            raise ValueError(f"{name}: has no gradient; expected a sampling planner, such as CEM or MPPI")


def poses_as_dynamics(value: Any) -> bool:
    """Whether it has the methods of a model and is none."""
    return not isinstance(value, Dynamics) and hasattr(value, "draw") and hasattr(value, "rollout")
