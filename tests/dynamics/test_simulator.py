"""The simulator as the model acts like the environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from elites.agents import MPC
from elites.dynamics import Dynamics, MujocoDynamics
from elites.envs import TASKS
from elites.planners import CEM, CEMGD

IDS = ["elites/HalfCheetah-v0", "elites/HumanoidStandup-v0"]


def made(name: str) -> tuple[Any, MujocoDynamics]:
    env: Any = gymnasium.make(name).unwrapped
    return env, MujocoDynamics(env.model, env.frame_skip, env.physics, env.observed)


@pytest.mark.parametrize("name", IDS)
def test_a_rollout_is_what_the_environment_does(name: str) -> None:
    """Ten steps from step 20 of an episode. The last bits can differ: the contact solver starts differently."""
    env, dynamics = made(name)
    observation, _ = env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(20):
        observation, *_ = env.step(env.action_space.sample())
    actions = np.array([env.action_space.sample() for _ in range(10)])
    states = dynamics.rollout(torch.from_numpy(observation), torch.from_numpy(actions).double()[None])
    assert states.shape == (1, 1, 10, len(observation))
    for action, expected in zip(actions, states[0, 0], strict=True):
        observation, *_ = env.step(action)
        assert np.allclose(observation, expected.numpy(), atol=1e-5)


def test_many_problems_and_candidates_are_each_their_own() -> None:
    env, dynamics = made(IDS[0])
    assert isinstance(dynamics, Dynamics)
    starts = torch.from_numpy(np.array([env.reset(seed=seed)[0] for seed in range(3)])).float()
    actions = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = dynamics.rollout(starts, actions)
    assert together.shape == (3, 4, 1, 5, 18)
    assert together.dtype == torch.float32
    alone = dynamics.rollout(starts[1], actions[1, 2:3])
    assert torch.allclose(together[1, 2], alone[0], atol=1e-5)


def test_a_gradient_planner_is_told() -> None:
    """The reward's own gradient for the action would be only half of the gradient."""
    env, dynamics = made(IDS[0])
    reward, space = TASKS[IDS[0]].reward, env.action_space
    mpc = MPC.of(CEMGD(cold=CEM()), horizon=5, dynamics=dynamics, reward=reward, space=space, seed=0)
    with pytest.raises(ValueError, match="MujocoDynamics: has no gradient; expected a sampling planner"):
        mpc(env.reset(seed=0)[0])


def test_wrong_models_are_named() -> None:
    env, _ = made(IDS[0])
    with pytest.raises(ValueError, match=r"MujocoDynamics\.model: expected a mujoco\.MjModel, got 'half_cheetah'"):
        MujocoDynamics("half_cheetah", 5, env.physics, env.observed)
    with pytest.raises(ValueError, match=r"MujocoDynamics\.frames: expected an integer of at least 1, got 0"):
        MujocoDynamics(env.model, 0, env.physics, env.observed)


def test_planning_beats_doing_nothing() -> None:
    """A cheetah with plans of ten steps runs forward."""
    env, dynamics = made(IDS[0])
    cem, reward, space = CEM(samples=40, iterations=3, elites=5), TASKS[IDS[0]].reward, env.action_space
    mpc = MPC.of(cem, horizon=10, dynamics=dynamics, reward=reward, space=space, seed=0)
    observation, _ = env.reset(seed=0)
    total = 0.0
    for _ in range(10):
        observation, reward, *_ = env.step(mpc(observation))
        total += reward
    assert total > 5
