"""Gymnasium's classic control: our dynamics, reward and termination against Gymnasium's, step by step."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from elites.envs import TASKS
from elites.spaces import Choices


def set_state(env: Any, rng: np.random.Generator) -> None:
    """A random state, also with high speeds and near an end."""
    if "CartPole" in env.spec.id:
        env.unwrapped.state = rng.uniform([-2.4, -3, -0.21, -3], [2.4, 3, 0.21, 3])
    else:
        env.unwrapped.state = rng.uniform([-np.pi, -np.pi, -12, -28], [np.pi, np.pi, 12, 28])


def observation(env: Any) -> Any:
    own = env.unwrapped
    return np.asarray(own.state if "CartPole" in env.spec.id else own._get_ob(), np.float64)


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])
def test_a_step_is_gymnasiums(name: str) -> None:
    env, task, rng = gymnasium.make(name), TASKS[name], np.random.default_rng(0)
    choices = Choices((int(env.action_space.n),), dtype=torch.float64)  # type: ignore[attr-defined]
    env.reset(seed=0)
    ends = 0
    for _ in range(300):
        env.reset()
        set_state(env, rng)
        state = torch.as_tensor(observation(env))[None]
        number = int(rng.integers(choices.sizes[0]))
        action = choices.from_env([number])
        _, reward, terminated, _, _ = env.step(number)
        assert task.dynamics is not None
        assert task.terminated is not None
        following = task.dynamics(state, action)
        expected = torch.as_tensor(observation(env))[None]
        if name == "Acrobot-v1":
            expected = expected.float()  # Gymnasium observes float32
        assert torch.allclose(following, expected.double(), atol=1e-5)
        assert task.reward(state, action, following).item() == reward
        assert task.terminated(state, action, following).item() == terminated
        ends += terminated
    assert 10 < ends < 290
