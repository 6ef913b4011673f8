"""Replayed open loops: without a disturbance they repeat the record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

import elites.envs  # noqa: F401
from elites.dynamics import MujocoDynamics


def recorded(env: Any, lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Columns of episodes of random actions."""
    rows: list[tuple[Any, ...]] = []
    for seed, length in enumerate(lengths):
        env.action_space.seed(seed)
        state, _ = env.reset(seed=seed)
        for time in range(length):
            action = env.action_space.sample()
            following, *_ = env.step(action)
            rows.append((state, action, following, time))
            state = following
    names = ("state", "action", "next_state", "time")
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return {name: torch.as_tensor(np.array(column)).float() for name, column in columns}


def test_what_is_not_disturbed_comes_again(divergence: Any) -> None:
    env: Any = gymnasium.make("elites/HalfCheetah-v0")
    columns = recorded(env, (12, 7, 12))
    agent: Any = SimpleNamespace(replay=SimpleNamespace(column=columns.__getitem__))
    first, actions, truth = divergence.windows(agent, episodes=2, steps=5)
    assert actions.shape == (3, 5, 6)  # one window of the shorter episode, two of the last
    assert torch.equal(first[0], columns["state"][12])
    assert torch.equal(truth[2], columns["next_state"][12 + 7 + 9])
    env = env.unwrapped
    dynamics = MujocoDynamics(env.model, env.frame_skip, env.physics, env.observed, threads=1)
    spread = torch.ones(18)
    again = divergence.simulated(dynamics, spread, 0.0, 2)(first, actions)
    torch.testing.assert_close(again, truth.unsqueeze(1).expand(-1, 2, -1), rtol=1e-2, atol=1e-2)
    moved = divergence.simulated(dynamics, spread, 0.1, 2)(first, actions)
    assert (moved - again).abs().mean() > 0.1
    assert not torch.equal(moved[:, 0], moved[:, 1])
