"""The cart-pole swing-up of the CEM-GD paper (sec. 3): the pole hangs down at the start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from elites.envs.dynamics_env import Array, DynamicsEnv, Picture
from elites.envs.task import Task
from elites.features import Features

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, TIME_STEP, TRACK = 9.8, 1.0, 0.05, 0.5, 100.0, 0.02, 2.4


def dynamics(state: Tensor, action: Tensor) -> Tensor:
    """(x, ẋ, θ, θ̇) and a force in units of 100 N -> the state 0.02 s later, by Euler's method.

    θ is 0 upright and stays in [0, 2π). Barto, Sutton & Anderson 1983, as corrected by Florian 2007.
    """
    x, speed, angle, turning = moved(state, FORCE * action[:, 0], POLE)
    return torch.stack([x, speed, torch.remainder(angle, 2 * math.pi), turning], 1)


def moved(state: Tensor, force: Tensor, pole: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(R, 4), a force (R) and the pole's mass -> x, ẋ, θ and θ̇ a time step later, (R) each."""
    x, speed, angle, turning = state.unbind(1)
    sin, cos, mass = torch.sin(angle), torch.cos(angle), CART + pole
    pull = (force + pole * HALF_LENGTH * turning**2 * sin) / mass
    turn = (GRAVITY * sin - cos * pull) / (HALF_LENGTH * (4 / 3 - pole * cos**2 / mass))
    acceleration = pull - pole * HALF_LENGTH * turn * cos / mass
    return (
        x + TIME_STEP * speed,
        speed + TIME_STEP * acceleration,
        angle + TIME_STEP * turning,
        turning + TIME_STEP * turn,
    )


def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """½ (cos θ + 1), but almost 0 if |x| > 2.2."""
    x, angle = next_state[:, 0], next_state[:, 2]
    return 0.5 * (torch.cos(angle) + 1) * torch.sigmoid(20 * (x + 2.2)) * torch.sigmoid(20 * (2.2 - x))


def terminated(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return next_state[:, 0].abs() >= TRACK


class CartpoleSwingup(DynamicsEnv):
    """A force on the cart swings the pole up and keeps it there, on a track of ± 2.4."""

    task = Task(reward, terminated, Features(0, 1, "sin 2", "cos 2", 3), angles=(2,), dynamics=dynamics)
    size, view = (600, 300), (2.8, 0.0)
    metadata: dict[str, Any] = {**DynamicsEnv.metadata, "render_fps": round(1 / TIME_STEP)}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        high = np.array([2 * TRACK, np.inf, 2 * math.pi, np.inf])
        low = np.array([-2 * TRACK, -np.inf, 0.0, -np.inf])
        super().__init__(Box(low, high, dtype=np.float64), Box(-1.0, 1.0, (1,), np.float32), render_mode)

    def begin(self, rng: np.random.Generator) -> Array:
        return np.array([0.0, 0.0, math.pi, 0.0]) + rng.uniform(-0.05, 0.05, 4)

    def draw(self, picture: Picture, state: Array) -> None:
        x, angle = state[0], state[2]
        picture.line((-TRACK, 0), (TRACK, 0), "#9ca3af", 0.02)
        picture.block((x, 0), 0.5, 0.25, "#1f2937")
        tip = (x + 2 * HALF_LENGTH * math.sin(angle), 2 * HALF_LENGTH * math.cos(angle))
        picture.line((x, 0), tip, "#c2410c", 0.07)
        picture.disc((x, 0), 0.05, "#9ca3af")
