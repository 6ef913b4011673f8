"""Gymnasium's classic control with discrete actions: CartPole-v1 and Acrobot-v1 as batched torch functions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from elites.envs import cartpole
from elites.envs.task import Task
from elites.features import Features

# --- CartPole-v1 ------------------------------------------------------------------------------------------------------

CARTPOLE_FORCE, CARTPOLE_POLE, CARTPOLE_TRACK, CARTPOLE_TILT = 10.0, 0.1, 2.4, 12 * 2 * math.pi / 360


def cartpole_dynamics(state: Tensor, action: Tensor) -> Tensor:
    """(x, ẋ, θ, θ̇) and (push left, push right) -> the state 0.02 s later."""
    force = CARTPOLE_FORCE * (action[:, 1] - action[:, 0])
    return torch.stack(cartpole.moved(state, force, CARTPOLE_POLE), 1)


def cartpole_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """1 for every step, the last one included."""
    return torch.ones_like(next_state[:, 0])


def cartpole_terminated(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return (next_state[:, 0].abs() > CARTPOLE_TRACK) | (next_state[:, 2].abs() > CARTPOLE_TILT)


# --- Acrobot-v1 -------------------------------------------------------------------------------------------------------

LENGTH, MASS, CENTRE, INERTIA, ACROBOT_GRAVITY = 1.0, 1.0, 0.5, 1.0, 9.8  # of both links
ACROBOT_STEP, FASTEST_1, FASTEST_2 = 0.2, 4 * math.pi, 9 * math.pi


def acrobot_dynamics(state: Tensor, action: Tensor) -> Tensor:
    """(cos θ₁, sin θ₁, cos θ₂, sin θ₂, θ̇₁, θ̇₂) and (torque -1, 0 or 1) -> the state 0.2 s later (Runge-Kutta)."""
    torque = action[:, 2] - action[:, 0]
    motion = torch.stack(
        [torch.atan2(state[:, 1], state[:, 0]), torch.atan2(state[:, 3], state[:, 2]), state[:, 4], state[:, 5]], 1
    )
    h = ACROBOT_STEP
    k_1 = acrobot_motion(motion, torque)
    k_2 = acrobot_motion(motion + h / 2 * k_1, torque)
    k_3 = acrobot_motion(motion + h / 2 * k_2, torque)
    k_4 = acrobot_motion(motion + h * k_3, torque)
    angle_1, angle_2, speed_1, speed_2 = (motion + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)).unbind(1)
    speeds = [speed_1.clamp(-FASTEST_1, FASTEST_1), speed_2.clamp(-FASTEST_2, FASTEST_2)]
    return torch.stack([angle_1.cos(), angle_1.sin(), angle_2.cos(), angle_2.sin(), *speeds], 1)


def acrobot_motion(motion: Tensor, torque: Tensor) -> Tensor:
    """(θ₁, θ₂, θ̇₁, θ̇₂) (R, 4) -> their derivatives, as in Sutton & Barto's book."""
    angle_1, angle_2, speed_1, speed_2 = motion.unbind(1)
    d_1 = 2 * INERTIA + MASS * (2 * CENTRE**2 + LENGTH**2 + 2 * LENGTH * CENTRE * angle_2.cos())
    d_2 = MASS * (CENTRE**2 + LENGTH * CENTRE * angle_2.cos()) + INERTIA
    phi_2 = MASS * CENTRE * ACROBOT_GRAVITY * (angle_1 + angle_2).sin()  # cos(x - π/2) = sin x
    phi_1 = -MASS * LENGTH * CENTRE * (speed_2.square() + 2 * speed_1 * speed_2) * angle_2.sin()
    phi_1 = phi_1 + (MASS * CENTRE + MASS * LENGTH) * ACROBOT_GRAVITY * angle_1.sin() + phi_2
    pull = MASS * LENGTH * CENTRE * speed_1.square() * angle_2.sin()
    turn_2 = (torque + d_2 / d_1 * phi_1 - pull - phi_2) / (MASS * CENTRE**2 + INERTIA - d_2.square() / d_1)
    turn_1 = -(d_2 * turn_2 + phi_1) / d_1
    return torch.stack([speed_1, speed_2, turn_1, turn_2], 1)


def acrobot_height(state: Tensor) -> Tensor:
    """(R, 6) -> the height of the tip above the axle, from -2 to 2: -cos θ₁ - cos(θ₁ + θ₂)."""
    cos_1, sin_1, cos_2, sin_2 = state[:, :4].unbind(1)
    return -cos_1 - (cos_1 * cos_2 - sin_1 * sin_2)


def acrobot_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """-1 for every step, and 0 for the step that brings the tip up."""
    return -1.0 * (acrobot_height(next_state) <= 1)


def acrobot_terminated(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return acrobot_height(next_state) > 1


CARTPOLE = Task(cartpole_reward, cartpole_terminated, dynamics=cartpole_dynamics)
ACROBOT = Task(acrobot_reward, acrobot_terminated, Features(*range(6)), dynamics=acrobot_dynamics)
