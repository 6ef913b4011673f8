"""Worlds whose states are rows of an array, as a Gymnasium environment and as many of them in lockstep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

Array = NDArray[Any]


class World(ABC):
    """The rules of an environment, for R states at once. All episodes begin in one state."""

    observation_space: Space[Any]
    action_space: Space[Any]
    start: Array  # the first state (…)

    @abstractmethod
    def step(self, state: Array, action: Array) -> tuple[Array, Array, Array]:
        """(R, …), (R, *A) -> the next states (R, …), the rewards (R) and whether they are terminal (R)."""

    @abstractmethod
    def observe(self, state: Array) -> Array:
        """(R, …) -> (R, S)."""

    @abstractmethod
    def draw(self, state: Array) -> NDArray[np.uint8]:
        """A state (…) as a picture (H, W, 3)."""


class OneRow(gymnasium.Env[Any, Any]):
    """A world as an environment."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012  # in Gymnasium's form

    def __init__(self, world: World, render_mode: str | None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode: expected rgb_array or None, got {render_mode!r}")
        self.world, self.render_mode = world, render_mode
        self.observation_space, self.action_space = world.observation_space, world.action_space
        self.state: Array | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.world.start[None]
        return self.world.observe(self.state)[0], {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        if self.state is None:
            raise gymnasium.error.ResetNeeded("step: expected a call of reset first")
        self.state, reward, terminated = self.world.step(self.state, np.asarray(action)[None])
        return self.world.observe(self.state)[0], float(reward[0]), bool(terminated[0]), False, {}

    def render(self) -> NDArray[np.uint8]:
        if self.state is None:
            raise gymnasium.error.ResetNeeded("render: expected a call of reset first")
        return self.world.draw(self.state[0])


class ManyRows(VectorEnv[Any, Any, Any]):
    """N copies of a world in lockstep, in any autoreset mode. A step is one call of the world."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        world: World,
        num_envs: int,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        self.world, self.num_envs, self.limit = world, num_envs, max_episode_steps
        self.mode = AutoresetMode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.mode}
        self.single_observation_space, self.single_action_space = world.observation_space, world.action_space
        self.observation_space = batch_space(world.observation_space, num_envs)
        self.action_space = batch_space(world.action_space, num_envs)
        self.state = np.repeat(world.start[None], num_envs, 0)
        self.age = np.zeros(num_envs, dtype=np.int64)
        self.ended = np.zeros(num_envs, dtype=bool)  # the episodes that the last step ended

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed if isinstance(seed, int) else None)
        self._begin((options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool)))
        return self.world.observe(self.state), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        info: dict[str, Any] = {}
        fresh = self.ended if self.mode is AutoresetMode.NEXT_STEP else np.zeros_like(self.ended)
        state, reward, terminated = self.world.step(self.state, np.asarray(actions))
        self.state, self.age = state, self.age + 1
        if fresh.any():
            self._begin(fresh)
            reward, terminated = np.where(fresh, 0.0, reward), terminated & ~fresh
        truncated = ~fresh & (self.age >= self.limit) if self.limit else np.zeros_like(terminated)
        self.ended = terminated | truncated
        if self.mode is AutoresetMode.SAME_STEP and self.ended.any():
            info = {"final_obs": self.world.observe(self.state), "_final_obs": self.ended}
            self._begin(self.ended)
        return self.world.observe(self.state), reward, terminated, truncated, info

    def _begin(self, which: Array) -> None:
        self.state = np.where(which.reshape(-1, *[1] * self.world.start.ndim), self.world.start, self.state)
        self.age, self.ended = np.where(which, 0, self.age), self.ended & ~which
