"""Environments in rows, of which any can take a step alone: a population's episodes end at different times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from elites.agents.learner import Array
from elites.agents.playing import Stage
from elites.envs.mujoco_rows import MujocoRows, mujoco_rows
from elites.envs.rows import OneRow, World
from elites.runs.environments import Guarded, make


class Singles:
    """Gymnasium environments, one for each row."""

    def __init__(self, envs: Sequence[gymnasium.Env[Any, Any]]) -> None:
        self.envs = [Guarded(env, number) for number, env in enumerate(envs)]
        self.count = len(self.envs)

    def begin(self, seeds: Sequence[int]) -> Array:
        return np.stack([env.reset(seed=seed)[0] for env, seed in zip(self.envs, seeds, strict=False)])

    def step(self, rows: Array, action: Array) -> tuple[Array, Array, Array, Array]:
        found = [self.envs[row].step(one)[:4] for row, one in zip(rows, action, strict=True)]
        observation, reward, terminated, truncated = zip(*found, strict=True)
        return np.stack(observation), np.array(reward, float), np.array(terminated, bool), np.array(truncated, bool)


class WorldRows:
    """A world of rows: a step of all is one call."""

    def __init__(self, world: World, count: int) -> None:
        self.world, self.count = world, count
        self.state = np.repeat(world.start[None], count, 0)

    def begin(self, seeds: Sequence[int]) -> Array:
        self.state[: len(seeds)] = self.world.start
        return self.world.observe(self.state[: len(seeds)])

    def step(self, rows: Array, action: Array) -> tuple[Array, Array, Array]:
        state, reward, terminated = self.world.step(self.state[rows], action)
        self.state[rows] = state
        return self.world.observe(state), reward, terminated


class Limited:
    """Rows whose episodes are cut at a limit."""

    def __init__(self, rows: WorldRows | MujocoRows, limit: int) -> None:
        self.rows, self.count, self.limit = rows, rows.count, limit
        self.age = np.zeros(rows.count, dtype=np.int64)

    def begin(self, seeds: Sequence[int]) -> Array:
        self.age[: len(seeds)] = 0
        return self.rows.begin(seeds)

    def step(self, rows: Array, action: Array) -> tuple[Array, Array, Array, Array]:
        self.age[rows] += 1
        return *self.rows.step(rows, action), self.age[rows] >= self.limit


def stage(name: str, count: int, episode_steps: int | None = None) -> Stage:
    """`count` environments of this id."""
    first = make(name, episode_steps)
    limit = limit_of(first)
    if isinstance(first.unwrapped, OneRow):
        return Limited(WorldRows(first.unwrapped.world, count), limit)
    if rows := mujoco_rows(first, count):
        return Limited(rows, limit)
    return Singles([first, *(make(name, episode_steps) for _ in range(count - 1))])


def limit_of(env: gymnasium.Env[Any, Any]) -> int:
    """The most steps of an episode. Raises a ValueError if there is no limit."""
    if env.spec is None or env.spec.max_episode_steps is None:
        name = env.spec.id if env.spec else env
        raise ValueError(f"{name} does not limit its episodes, so a population may never end; set episode_steps")
    return env.spec.max_episode_steps
