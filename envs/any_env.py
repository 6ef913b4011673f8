"""Tasks for any Gymnasium environment: a model learns the reward, and the termination can be known."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from torch import Tensor

from elites.envs.task import TASKS, Task
from elites.features import Features
from elites.spaces import Space

Termination = Callable[[Tensor, Tensor, Tensor], Tensor]  # of rows (state, action, next_state) -> bool (R,)


def never(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return torch.zeros(len(state), dtype=torch.bool, device=state.device)


def never_paid(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return state.new_zeros(len(state))


def hopper(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Hopper-v5: too low, too tilted, or an entry beyond ± 100."""
    height, tilt = next_state[:, 0], next_state[:, 1]
    return (height <= 0.7) | (tilt.abs() >= 0.2) | (next_state[:, 1:].abs() >= 100).any(1)


def walker(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Walker2d-v5."""
    height, tilt = next_state[:, 0], next_state[:, 1]
    return (height <= 0.8) | (height >= 2.0) | (tilt.abs() >= 1.0)


def ant(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Ant-v5."""
    height = next_state[:, 0]
    return (height < 0.2) | (height > 1.0)


def humanoid(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Humanoid-v5."""
    height = next_state[:, 0]
    return (height <= 1.0) | (height >= 2.0)


def inverted_pendulum(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """InvertedPendulum-v5."""
    return next_state[:, 1].abs() > 0.2


def inverted_double_pendulum(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """InvertedDoublePendulum-v5, whose state holds the sines, then the cosines, of both joints."""
    sin_1, sin_2, cos_1, cos_2 = next_state[:, 1:5].unbind(1)
    return 0.6 * (cos_1 + cos_1 * cos_2 - sin_1 * sin_2) <= 1.0


def mountain_car(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """MountainCarContinuous-v0: the car is at its goal."""
    return (next_state[:, 0] >= 0.45) & (next_state[:, 1] >= 0)


TERMINATIONS: dict[str, Termination] = {
    "never": never,
    "Hopper-v5": hopper,
    "Walker2d-v5": walker,
    "Ant-v5": ant,
    "Humanoid-v5": humanoid,
    "InvertedPendulum-v5": inverted_pendulum,
    "InvertedDoublePendulum-v5": inverted_double_pendulum,
    "MountainCarContinuous-v0": mountain_car,
}


def task_of(
    env: gymnasium.Env[Any, Any], reward: Literal["known", "learned"] | None = None, termination: str | None = None
) -> Task:
    """The task of an environment. The model learns the reward if it is not known.

    reward: None takes the known reward if there is one. termination: a name in TERMINATIONS, or module:function. None
    takes the environment's own termination if it is known.
    """
    identity, size = name_of(env), sizes(env)[0]
    task = TASKS.get(identity)
    ends = task.terminated if task else TERMINATIONS.get(identity)
    if termination:
        ends = _termination(termination)
    if task and reward != "learned":
        return replace(task, terminated=ends)
    if reward == "known":
        raise ValueError(f"reward: {identity} has no known reward; known are {', '.join(TASKS)}")
    return learned_reward(replace(task, terminated=ends) if task else Task(never_paid, ends), size)


def learned_reward(task: Task, size: int) -> Task:
    """The same task with the last reward as one more entry of the state (S + 1), which a model predicts."""

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return next_state[:, size]

    def terminated(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        assert task.terminated
        return task.terminated(state[:, :size], action, next_state[:, :size])

    def encode(state: Tensor) -> Tensor:
        assert task.encode
        return task.encode(state[:, :size])

    seen = task.encode or Features(*range(size))
    if not isinstance(seen, Features):  # Features also work for a longer state
        seen = encode
    ends = terminated if task.terminated else None
    return Task(reward, ends, seen, (*task.absolute, size), task.angles, learned_reward=True)


def _termination(name: str) -> Termination:
    if name in TERMINATIONS:
        return TERMINATIONS[name]
    module, colon, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute) if colon else None
    except (ImportError, AttributeError) as error:
        raise ValueError(f"termination: {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"termination: expected one of {', '.join(TERMINATIONS)}, or module:function, got {name!r}")
    return found  # type: ignore[no-any-return]


def name_of(env: Any) -> str:
    """The id of a Gymnasium environment, or of the environments in a vector. Without an id, the name of its class."""
    first = getattr(env, "envs", [env])[0]
    return first.spec.id if first.spec else type(first.unwrapped).__name__


def sizes(env: gymnasium.Env[Any, Any]) -> tuple[int, int]:
    """(S, A) of an environment. Observations are vectors; actions are vectors or choices (one-hot)."""
    observations, actions = env.observation_space, env.action_space
    for name, space in (("observations", observations), ("actions", actions)):
        if isinstance(space, Box) and len(space.shape) == 1:
            continue
        if name == "observations" or not isinstance(space, Discrete | MultiDiscrete):
            kinds = "a Box of shape (n,)" + (", Discrete or MultiDiscrete" if name == "actions" else "")
            raise ValueError(f"{name_of(env)}: expected {name} in {kinds}, got {space}")
    if isinstance(actions, Box) and not np.issubdtype(actions.dtype, np.floating):
        raise ValueError(f"{name_of(env)}: expected actions of floating-point numbers, got {actions}")
    assert observations.shape
    return observations.shape[0], Space.of(actions).shape[0]
