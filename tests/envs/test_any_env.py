"""Tasks with learned rewards, and terminations against the environments' own."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from elites.envs import TASKS, TERMINATIONS, learned_reward, sizes, task_of


def transitions(name: str, episodes: int, excite: float = 1.0) -> tuple[Any, Any, Any, Any]:
    """Rows of state, action and next state of random episodes, and whether each row terminated."""
    env = gymnasium.make(name)
    env.action_space.seed(0)
    rows = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        for _ in range(400):
            action = excite * env.action_space.sample()
            following, _, terminated, truncated, _ = env.step(action)
            rows.append((observation, action, following, terminated))
            observation = following
            if terminated or truncated:
                break
    env.close()
    return tuple(torch.as_tensor(np.array(column)) for column in zip(*rows, strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize("name", sorted(TERMINATIONS.keys() - {"never", "MountainCarContinuous-v0"}))
def test_termination_is_the_environments_own(name: str) -> None:
    state, action, following, terminated = transitions(name, episodes=12)
    assert terminated.any()
    assert not terminated.all()
    assert torch.equal(TERMINATIONS[name](state, action, following), terminated)


def test_the_car_at_its_goal() -> None:
    env: Any = gymnasium.make("MountainCarContinuous-v0").unwrapped
    env.reset(seed=0)
    for position, speed in [(0.43, 0.06), (0.43, 0.005), (0.2, 0.05), (0.449, 0.003)]:
        env.state = np.array([position, speed])
        following, _, terminated, _, _ = env.step(np.array([1.0]))
        row = torch.as_tensor(following)[None]
        assert TERMINATIONS["MountainCarContinuous-v0"](row, row, row).item() == terminated


def test_what_is_known_is_taken() -> None:
    env = gymnasium.make("elites/CartpoleSwingup-v0")
    assert task_of(env) == TASKS["elites/CartpoleSwingup-v0"]
    assert task_of(env, termination="never").terminated is TERMINATIONS["never"]


def test_what_is_not_known_is_learned() -> None:
    task = task_of(gymnasium.make("Hopper-v5"))
    assert task.learned_reward
    assert task.absolute == (11,)
    state, action = torch.randn(5, 12), torch.randn(5, 3)
    following = torch.randn(5, 12)
    assert torch.equal(task.reward(state, action, following), following[:, 11])
    assert task.encode
    assert torch.equal(task.encode(state), state[:, :11])
    assert task.terminated
    assert torch.equal(
        task.terminated(state, action, following), TERMINATIONS["Hopper-v5"](state[:, :11], action, following[:, :11])
    )
    assert task_of(gymnasium.make("Pendulum-v1")).terminated is None


def test_a_known_task_with_a_learned_reward_keeps_the_rest() -> None:
    known = TASKS["elites/CartpoleSwingup-v0"]
    task = task_of(gymnasium.make("elites/CartpoleSwingup-v0"), reward="learned")
    assert (task.angles, task.absolute, task.learned_reward) == ((2,), (4,), True)
    state = torch.randn(6, 5)
    assert known.encode
    assert task.encode
    assert torch.equal(task.encode(state), known.encode(state[:, :4]))
    assert learned_reward(known, 4).absolute == (4,)


def fallen(state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> torch.Tensor:
    return next_state[:, 0] < 0


def test_a_termination_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "own_module", sys.modules[__name__])
    task = task_of(gymnasium.make("Pendulum-v1"), termination="own_module:fallen")
    assert task.terminated
    rows = torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]])
    assert task.terminated(rows, rows, rows).tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Blackjack-v1", {}, r"Blackjack-v1: expected observations in a Box"),
        ("Pendulum-v1", {"reward": "known"}, "reward: Pendulum-v1 has no known reward; known are elites/Cartpole"),
        ("Pendulum-v1", {"termination": "hopper"}, "termination: expected one of never, Hopper-v5, .*, got 'hopper'"),
        ("Pendulum-v1", {"termination": "no:where"}, "termination: 'no:where' cannot be imported: No module named"),
    ],
)
def test_what_does_not_fit(name: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task_of(gymnasium.make(name), **options)


def test_choices_are_actions_and_other_spaces_are_named() -> None:
    env = gymnasium.make("CartPole-v1")
    assert sizes(env) == (4, 2)
    env.unwrapped.action_space = gymnasium.spaces.MultiDiscrete([2, 3])
    assert sizes(env.unwrapped) == (4, 5)
    env.unwrapped.action_space = gymnasium.spaces.MultiBinary(2)
    with pytest.raises(ValueError, match=r"expected actions in a Box of shape \(n,\), Discrete or MultiDiscrete"):
        sizes(env.unwrapped)
