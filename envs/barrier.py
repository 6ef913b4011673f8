"""Figure 2 of the CEM-GD paper: a repelling disc is between a point and its goal."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box
from torch import Tensor

from elites.envs.dynamics_env import Array, DynamicsEnv, Picture
from elites.envs.task import Task

START, GOAL, DISC, RADIUS, STIFFNESS, STRIDE = (-1.0, 0.0), (1.0, 0.0), (0.0, 0.1), 0.25, 10.0, 0.05


def dynamics(state: Tensor, action: Tensor) -> Tensor:
    """p' = p + a + k (r - |p - c|)⁺ (p - c): the disc pushes a point inside it outwards."""
    offset = state - state.new_tensor(DISC)
    depth = (RADIUS - (offset.square().sum(1, keepdim=True) + 1e-12).sqrt()).clamp_min(0)
    return state + action + STIFFNESS * depth * offset


def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return -(next_state - next_state.new_tensor(GOAL)).square().sum(1)


class Barrier(DynamicsEnv):
    """The disc is a little above the straight line. Each way round it is a local optimum; the lower way is better."""

    task = Task(reward, dynamics=dynamics)
    size, view = (480, 360), (1.3, 0.0)

    def __init__(self, render_mode: str | None = None) -> None:
        actions = Box(-STRIDE, STRIDE, (2,), np.float32)
        super().__init__(Box(-np.inf, np.inf, (2,), np.float64), actions, render_mode)

    def begin(self, rng: np.random.Generator) -> Array:
        return np.array(START) + rng.uniform(-0.01, 0.01, 2)

    def draw(self, picture: Picture, state: Array) -> None:
        picture.line(START, GOAL, "#e5e7eb", 0.008)
        picture.disc(DISC, RADIUS, "#d1d5db")
        picture.disc(GOAL, 0.05, "#16a34a")
        picture.disc((state[0], state[1]), 0.04, "#c2410c")
