"""The MuJoCo tasks of PETS (Chua et al. 2018) and of the CEM-GD paper, on Gymnasium's own models."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle
from numpy.typing import NDArray
from torch import Tensor

from elites.envs.task import Task

Array = NDArray[np.float64]


class MujocoTask(MujocoEnv, EzPickle):
    """A model of Gymnasium's, observed as a subclass says, with the task's reward; no episode terminates."""

    task: ClassVar[Task]
    model_file: ClassVar[str]
    frames: ClassVar[int]
    observed: ClassVar[int]
    camera: ClassVar[dict[str, Any]]
    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        EzPickle.__init__(self, **options)
        space = Box(-np.inf, np.inf, (self.observed,), np.float64)
        MujocoEnv.__init__(self, self.model_file, self.frames, space, default_camera_config=self.camera, **options)
        self.metadata = {**self.metadata, "render_fps": round(1 / self.dt)}

    def step(self, action: NDArray[np.float32]) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        before = self.observe()
        self.do_simulation(action, self.frame_skip)
        after = self.observe()
        if self.render_mode == "human":
            self.render()
        rows = [torch.as_tensor(np.asarray(x, np.float64))[None] for x in (before, action, after)]
        return after, self.task.reward(*rows).item(), False, False, {}

    @abstractmethod
    def observe(self) -> Array: ...


# --- HalfCheetah ------------------------------------------------------------------------------------------------------


def cheetah_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """v - 0.1 |a|²."""
    return next_state[:, 0] - 0.1 * action.square().sum(1)


def cheetah_encode(state: Tensor) -> Tensor:
    """Without the forward velocity, which follows from the rest, and with the pitch as sine and cosine: (R, 18)."""
    pitch = state[:, 2:3]
    return torch.cat([state[:, 1:2], torch.sin(pitch), torch.cos(pitch), state[:, 3:]], 1)


class HalfCheetah(MujocoTask):
    """PETS's: 18 observations, the forward velocity over the last step first, then qpos[1:] and qvel."""

    task = Task(cheetah_reward, encode=cheetah_encode, absolute=(0,))
    model_file, frames, observed = "half_cheetah.xml", 5, 18
    camera: ClassVar[dict[str, Any]] = {"distance": 4.0}

    def reset_model(self) -> Array:
        position = self.init_qpos + self.np_random.normal(0, 0.001, self.model.nq)
        self.set_state(position, self.init_qvel + self.np_random.normal(0, 0.001, self.model.nv))
        self.x = self.data.qpos[0]
        return np.concatenate([[0.0], self.data.qpos[1:], self.data.qvel])

    def step(self, action: NDArray[np.float32]) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        self.x = self.data.qpos[0]
        return super().step(action)

    def observe(self) -> Array:
        velocity = (self.data.qpos[0] - self.x) / self.dt
        return np.concatenate([[velocity], self.data.qpos[1:], self.data.qvel])


# --- Pusher -----------------------------------------------------------------------------------------------------------

GOAL = (0.45, -0.05, -0.323)  # where the model has it


def pusher_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """-(0.5 |tip - object|₁ + 1.25 |object - goal|₁) - 0.1 |a|²."""
    tip, thing = next_state[:, 14:17], next_state[:, 17:20]
    near, far = (tip - thing).abs().sum(1), (thing - thing.new_tensor(GOAL)).abs().sum(1)
    return -0.5 * near - 1.25 * far - 0.1 * action.square().sum(1)


class Pusher(MujocoTask):
    """PETS's: a 7-joint arm pushes an object to the goal; qpos and qvel of the arm, then tip and object in space."""

    task = Task(pusher_reward)
    model_file, frames, observed = "pusher_v5.xml", 4, 20
    camera: ClassVar[dict[str, Any]] = {"trackbodyid": -1, "distance": 4.0}

    def reset_model(self) -> Array:
        position, velocity = self.init_qpos.copy(), self.init_qvel.copy()
        position[-4:-2] = np.array([-0.25, 0.15]) + self.np_random.normal(0, 0.025, 2)
        position[-2:] = 0
        velocity += self.np_random.uniform(-0.005, 0.005, self.model.nv)
        velocity[-4:] = 0
        self.set_state(position, velocity)
        return self.observe()

    def observe(self) -> Array:
        tip, thing = self.get_body_com("tips_arm"), self.get_body_com("object")
        return np.concatenate([self.data.qpos[:7], self.data.qvel[:7], tip, thing])


# --- HumanoidStandup --------------------------------------------------------------------------------------------------

HUMANOID_TIME_STEP = 0.003  # the model's own


def standup_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Height over the model's time step, - 0.1 |a|² + 1: Gymnasium's without its cost of impacts."""
    return next_state[:, 0] / HUMANOID_TIME_STEP - 0.1 * action.square().sum(1) + 1


class HumanoidStandup(MujocoTask):
    """Gymnasium's, observed by the 45 numbers qpos[2:] and qvel alone (Janner et al. 2019's truncation)."""

    task = Task(standup_reward)
    model_file, frames, observed = "humanoidstandup.xml", 5, 45
    camera: ClassVar[dict[str, Any]] = {
        "trackbodyid": 1,
        "distance": 4.0,
        "lookat": np.array((0.0, 0.0, 0.8925)),
        "elevation": -20.0,
    }

    def reset_model(self) -> Array:
        position = self.init_qpos + self.np_random.uniform(-0.01, 0.01, self.model.nq)
        self.set_state(position, self.init_qvel + self.np_random.uniform(-0.01, 0.01, self.model.nv))
        return self.observe()

    def observe(self) -> Array:
        return np.concatenate([self.data.qpos[2:], self.data.qvel])
