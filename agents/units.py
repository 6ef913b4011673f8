"""The algorithms' form of actions: a unit space, from replay to loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from elites.agents.learner import Array
from elites.spaces import Box, Space


@dataclass(frozen=True)
class Spaces:
    """The inputs of an algorithm's networks: states (R, S), and actions (R, A) of the space `action`."""

    state_size: int
    world: Space  # the environment's space of one action
    action: Space  # the same space in units: the cube [-1, 1]^A for a Box, one-hot rows for Choices

    @classmethod
    def of(cls, state_size: int, space: object, device: torch.device | str = "cpu") -> Spaces:
        """space: the space of one action, a Gymnasium space or an `elites.Space`."""
        world = Space.of(space, dtype=torch.float32, device=device)
        if not isinstance(world, Box):
            return cls(state_size, world, world)
        if not world.bounded or len(world.shape) != 1:
            raise ValueError(f"action space: expected a vector with finite bounds, got {space}")
        ones = torch.ones_like(world.low)
        return cls(state_size, world, Box(-ones, ones))

    @cached_property
    def _box(self) -> tuple[Array, Array, Array, Array] | None:
        """Low, high, centre and half width of a box on a CPU, as arrays: NumPy is five times as fast as torch here."""
        world = self.world
        if not isinstance(world, Box) or world.device.type != "cpu":
            return None
        half = world.half.clamp_min(torch.finfo(world.dtype).tiny)
        return world.low.numpy(), world.high.numpy(), world.centre.numpy(), half.numpy()

    @property
    def action_size(self) -> int:
        return self.action.shape[0]

    @property
    def box(self) -> Box:
        """The environment's space, for a policy that needs a Box."""
        if not isinstance(self.world, Box):
            raise ValueError(f"action space: expected a Box, which this agent's policy needs, got {self.world}")
        return self.world

    def to_env(self, action: Tensor) -> Array:
        """(R, A) in units -> the environment's actions."""
        found: Array
        if self._box is not None:
            low, high, centre, half = self._box
            found = np.minimum(np.maximum(centre + half * action.numpy(), low), high)
            return found
        inside = self.world.from_unit(action) if isinstance(self.world, Box) else action
        found = self.world.to_env(inside).cpu().numpy()
        return found

    def from_env(self, action: Array) -> Tensor:
        """The environment's actions -> (R, A) in units."""
        if self._box is not None:
            _, _, centre, half = self._box
            return torch.from_numpy((np.asarray(action, np.float32) - centre) / half)
        point = self.world.from_env(action)
        return self.world.to_unit(point) if isinstance(self.world, Box) else point
