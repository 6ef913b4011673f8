"""The MuJoCo tasks of PETS (Chua et al. 2018) and of the CEM-GD paper, with Gymnasium's models."""

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
from elites.features import Features

Array = NDArray[np.float64]


class MujocoTask(MujocoEnv, EzPickle):
    """Gymnasium's model with the task's reward. A subclass gives the observation. No episode terminates."""

    task: ClassVar[Task]
    model_file: ClassVar[str]
    frames: ClassVar[int]
    observed_size: ClassVar[int]
    view: ClassVar[dict[str, Any]] = {"camera_name": "track"}  # it follows the body, if the model has it
    observation: Array
    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        EzPickle.__init__(self, **options)
        space = Box(-np.inf, np.inf, (self.observed_size,), np.float64)
        MujocoEnv.__init__(self, self.model_file, self.frames, space, **{**self.view, **options})
        self.metadata = {**self.metadata, "render_fps": round(1 / self.dt)}

    def step(self, action: NDArray[np.float32]) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        before, motion_before = self.observation, self.motion
        self.do_simulation(action, self.frame_skip)
        self.observation = self.observe(motion_before)
        if self.render_mode == "human":
            self.render()
        rows = [torch.as_tensor(np.asarray(x, np.float64))[None] for x in (before, action, self.observation)]
        return self.observation.copy(), self.task.reward(*rows).item(), False, False, {}

    def reset_model(self) -> Array:
        position, velocity = self.begin(self.np_random)
        self.set_state(position, velocity)
        self.observation = self.observe(self.motion)
        return self.observation.copy()

    @property
    def motion(self) -> Array:
        """(qpos, qvel)."""
        return np.concatenate([self.data.qpos, self.data.qvel])

    @abstractmethod
    def begin(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """The position and velocity of a new episode."""

    @abstractmethod
    def observe(self, motion_before: Array) -> Array:
        """The observation after an action. motion_before: (qpos, qvel) before the action."""


class TranslatedTask(MujocoTask):
    """A task whose observation holds (qpos, qvel) without the place in the plane. A simulator can start from it."""

    def observe(self, motion_before: Array) -> Array:
        return self.observed(motion_before[None], self.motion[None])[0]

    @classmethod
    @abstractmethod
    def observed(cls, before: Array, after: Array) -> Array:
        """(qpos, qvel) before and after an action, (R, nq + nv) each -> observations (R, S)."""

    @classmethod
    @abstractmethod
    def physics(cls, observation: Array) -> Array:
        """(R, S) -> (qpos, qvel), (R, nq + nv), at the origin."""


# --- HalfCheetah ------------------------------------------------------------------------------------------------------


def cheetah_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """v - 0.1 |a|²."""
    return next_state[:, 0] - 0.1 * action.square().sum(1)


class HalfCheetah(TranslatedTask):
    """PETS's task. The 18 observations are the forward velocity over the last step, qpos[1:] and qvel."""

    seen = Features(1, "sin 2", "cos 2", *range(3, 18))  # without the forward velocity, which follows from the rest
    task = Task(cheetah_reward, encode=seen, absolute=(0,))
    model_file, frames, observed_size = "half_cheetah.xml", 5, 18
    seconds = 0.05  # the duration of an action

    def begin(self, rng: np.random.Generator) -> tuple[Array, Array]:
        position = self.init_qpos + rng.normal(0, 0.001, self.model.nq)
        return position, self.init_qvel + rng.normal(0, 0.001, self.model.nv)

    @classmethod
    def observed(cls, before: Array, after: Array) -> Array:
        return np.concatenate([(after[:, :1] - before[:, :1]) / cls.seconds, after[:, 1:]], 1)

    @classmethod
    def physics(cls, observation: Array) -> Array:
        return np.concatenate([np.zeros((len(observation), 1)), observation[:, 1:]], 1)


# --- Pusher -----------------------------------------------------------------------------------------------------------

GOAL = (0.45, -0.05, -0.323)  # its place in the model


def pusher_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """-(0.5 |tip - object|₁ + 1.25 |object - goal|₁) - 0.1 |a|²."""
    tip, thing = next_state[:, 14:17], next_state[:, 17:20]
    near, far = (tip - thing).abs().sum(1), (thing - thing.new_tensor(GOAL)).abs().sum(1)
    return -0.5 * near - 1.25 * far - 0.1 * action.square().sum(1)


class Pusher(MujocoTask):
    """PETS's task: a 7-joint arm pushes an object to a goal. It observes the arm's qpos and qvel, tip and object."""

    task = Task(pusher_reward)
    model_file, frames, observed_size = "pusher_v5.xml", 4, 20
    view: ClassVar[dict[str, Any]] = {"default_camera_config": {"trackbodyid": -1, "distance": 4.0}}

    def begin(self, rng: np.random.Generator) -> tuple[Array, Array]:
        position, velocity = self.init_qpos.copy(), self.init_qvel.copy()
        position[-4:-2] = np.array([-0.25, 0.15]) + rng.normal(0, 0.025, 2)
        position[-2:] = 0
        velocity += rng.uniform(-0.005, 0.005, self.model.nv)
        velocity[-4:] = 0
        return position, velocity

    def observe(self, motion_before: Array) -> Array:
        tip, thing = self.get_body_com("tips_arm"), self.get_body_com("object")
        return np.concatenate([self.data.qpos[:7], self.data.qvel[:7], tip, thing])


# --- HumanoidStandup --------------------------------------------------------------------------------------------------

HUMANOID_TIME_STEP = 0.003  # the model's own


def standup_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """height / time step - 0.1 |a|² + 1: Gymnasium's reward without its cost of impacts."""
    return next_state[:, 0] / HUMANOID_TIME_STEP - 0.1 * action.square().sum(1) + 1


class HumanoidStandup(TranslatedTask):
    """Gymnasium's task. It observes only the 45 numbers qpos[2:] and qvel (truncated as in Janner et al. 2019)."""

    task = Task(standup_reward)
    model_file, frames, observed_size = "humanoidstandup.xml", 5, 45

    def begin(self, rng: np.random.Generator) -> tuple[Array, Array]:
        position = self.init_qpos + rng.uniform(-0.01, 0.01, self.model.nq)
        return position, self.init_qvel + rng.uniform(-0.01, 0.01, self.model.nv)

    @classmethod
    def observed(cls, before: Array, after: Array) -> Array:
        return after[:, 2:].copy()

    @classmethod
    def physics(cls, observation: Array) -> Array:
        return np.concatenate([np.zeros((len(observation), 2)), observation], 1)
