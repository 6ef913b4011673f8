"""PETS on a task that is small enough to be understood."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from elites.agents import PETS, PETSConfig, Transition
from elites.dynamics import EnsembleConfig, Training
from elites.dynamics.ensemble import PETS_NETWORKS
from elites.envs import Task, learned_reward
from elites.planners import CEM, PLANNERS
from elites.runs import Episodes, Loop, RunFolder, checkpoint, episode_seed

SMALL = PETSConfig(
    CEM(samples=30, iterations=2, elites=5),
    horizon=4,
    model=EnsembleConfig(members=3, architecture=replace(PETS_NETWORKS, hidden=(32,))),
    training=Training(batch=8),
)


class Reach(gymnasium.Env[Any, Any]):
    """A point on a line that should be at 1; steps of up to 0.3. It starts between -1 and 0, and has 10 steps."""

    observation_space = Box(-np.inf, np.inf, (1,), np.float64)
    action_space = Box(-0.3, 0.3, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at, self.left = self.np_random.uniform(-1, 0, 1), 10
        return self.at.copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at = self.at + np.clip(action, -0.3, 0.3)
        self.left -= 1
        return self.at.copy(), -float((self.at[0] - 1) ** 2), False, self.left == 0, {}


def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return -(next_state[:, 0] - 1).square()


def run(agent: PETS, folder: Path, **schedule: Any) -> Loop:
    options = {"random_episodes": 3, "episodes": 5, **schedule}
    loop = Loop(agent, Reach(), RunFolder.begin(folder, {}), Episodes(**options), 0)
    loop()
    return loop


@pytest.mark.parametrize("name", PLANNERS)
def test_every_planner_solves_it(tmp_path: Path, name: str) -> None:
    planner: Any = PLANNERS[name]()
    if name == "gradient_ascent":
        planner = replace(planner, step=0.1)
    loop = run(PETS(replace(SMALL, planner=planner), Task(reward), Reach(), 0), tmp_path)
    short = [row["return"] - best_return(row["episode"] - 1) for row in loop.rows]
    assert min(short[:3]) < -5  # at random, which other releases of torch draw otherwise
    assert min(short[-2:]) > -1.5


def test_a_reward_that_is_learned(tmp_path: Path) -> None:
    loop = run(PETS(SMALL, learned_reward(Task(reward), 1), Reach(), 0), tmp_path)
    assert loop.rows[-1]["return"] - best_return(7) > -1.5
    assert loop.agent.replay.column("state").shape == (80, 2)  # type: ignore[attr-defined]


def best_return(episode: int) -> float:
    """As fast as it can, to 1."""
    env = Reach()
    at, total = env.reset(seed=episode_seed(0, episode))[0], 0.0
    for _ in range(10):
        at, paid, *_ = env.step(np.clip(1 - at, -0.3, 0.3))
        total += paid
    return total


def test_equal_seeds_equal_runs(tmp_path: Path) -> None:
    def returns(name: str, seed: int) -> list[float]:
        return [row["return"] for row in run(PETS(SMALL, Task(reward), Reach(), seed), tmp_path / name).rows]

    first = returns("a", 1)
    assert returns("b", 1) == first
    assert returns("c", 2) != first


def test_saved_in_the_middle_of_an_episode(tmp_path: Path) -> None:
    """What another agent goes on with from there is what this one goes on with."""
    quick = replace(SMALL, training=Training(epochs=3), train_every=25)
    agent, other = (PETS(quick, Task(reward), Reach(), seed) for seed in (0, 1))
    run(agent, tmp_path, episodes=1)
    state = json.loads(json.dumps(agent.state_dict(), default=lambda tensor: None)).keys()
    assert state == agent.state_dict().keys()  # nothing but tensors and what JSON has
    other.load_state_dict(checkpoint.read(checkpoint.write(tmp_path / "elsewhere", agent.state_dict())))
    for step in range(30):
        observation = np.array([0.1 * step - 1])
        assert agent.due(step == 0) == other.due(step == 0) == (step in (15,))
        if agent.due(step == 0):
            assert agent.learn() == other.learn()
        action = agent.act(observation)
        assert np.array_equal(action, other.act(observation))
        for each in (agent, other):
            told(each, observation, action, 0.0, observation + action, False)
    assert agent.summary()["fallbacks"] == other.summary()["fallbacks"]
    assert len(agent.plan_ms) == len(other.plan_ms) == 10 + 30


def told(agent: PETS, *transition: Any) -> None:
    """Of one environment."""
    agent.observe(Transition.one(*transition, truncated=False))


def test_when_it_learns(tmp_path: Path) -> None:
    lessons: list[int] = []

    class Noted(PETS):
        def learn(self, progress: Any = lambda text: None) -> dict[str, float]:
            lessons.append(len(self.replay))
            return super().learn(progress)

    quick = replace(SMALL, training=Training(epochs=1))
    run(Noted(quick, Task(reward), Reach(), 0), tmp_path / "episodes", evaluation_episodes=2)
    assert lessons == [30, 40, 50, 60, 70, 80]  # the last one before it is evaluated
    lessons.clear()
    run(Noted(replace(quick, train_every=4), Task(reward), Reach(), 0), tmp_path / "steps")
    assert lessons == list(range(30, 80, 4))


def test_plans_that_find_nothing_finite_are_counted(tmp_path: Path) -> None:
    """The reward of the model is NaN in the second learning episode: the agent goes on, and says so."""
    broken = False

    def sometimes(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return reward(state, action, next_state) + (torch.nan if broken else 0.0)

    agent = PETS(replace(SMALL, training=Training(epochs=2)), Task(sometimes), Reach(), 0)
    for episode in range(2):
        env = Reach()
        observation, _ = env.reset(seed=episode)
        agent.begin()
        for step in range(10):
            broken = episode == 1 and step >= 5
            action = agent.act(observation) if episode else agent.act_at_random(1)[0]
            following, paid, terminated, _, _ = env.step(action)
            told(agent, observation, action, paid, following, terminated)
            observation = following
            assert np.isfinite(action).all()
        agent.learn()
    assert agent.summary()["fallbacks"] == agent.fallbacks == 5
    assert len(agent.plan_ms) == 10


def test_random_actions_fill_the_box() -> None:
    agent = PETS(SMALL, Task(reward), Reach(), 0)
    actions = agent.act_at_random(500)
    assert actions.shape == (500, 1)
    assert (np.abs(actions) <= np.float32(0.3)).all()
    assert actions.min() < -0.29
    assert actions.max() > 0.29


def test_open_loop_predictions(tmp_path: Path) -> None:
    agent = PETS(replace(SMALL, training=Training(epochs=200, patience=50)), Task(reward), Reach(), 0)
    run(agent, tmp_path)
    came, foreseen = agent.predict(60, 10, particles=30)
    assert came.shape == (10, 1)
    assert foreseen.shape == (30, 10, 1)
    assert np.array_equal(came, agent.replay.column("next_state")[60:70].numpy())
    assert np.abs(foreseen.mean(0) - came).max() < 0.1


def test_an_angle_is_unwrapped_for_the_eye() -> None:
    """A wheel that turns by 1 at every step, in [0, 2π)."""
    agent = PETS(SMALL, Task(reward, angles=(0,)), Reach(), 0)
    for i in range(12):
        here, there = (np.array([x % (2 * np.pi)]) for x in (i, i + 1))
        told(agent, here, np.zeros(1), 0.0, there, False)
    came, _ = agent.predict(2, 9)
    assert np.allclose(came[:, 0], np.arange(3, 12), atol=1e-5)


def test_nothing_to_learn_from() -> None:
    with pytest.raises(ValueError, match="Replay: expected transitions, found none"):
        PETS(SMALL, Task(reward), Reach(), 0).learn()


def test_the_ends_of_episodes_are_held() -> None:
    agent = PETS(SMALL, Task(reward), Reach(), 0)
    for step in range(6):
        agent.observe(Transition.one(np.zeros(1), np.zeros(1), 0.0, np.zeros(1), False, step == 3))
    assert [(episode.length, episode.ends) for episode in agent.replay.episodes()] == [(4, True), (2, False)]
    agent.begin()
    agent.observe(Transition.one(np.zeros(1), np.zeros(1), 0.0, np.zeros(1), False, False))
    assert [episode.length for episode in agent.replay.episodes()] == [4, 2, 1]


def test_a_termination_that_nobody_told_it_of() -> None:
    agent = PETS(SMALL, Task(reward), Reach(), 0)
    with pytest.warns(UserWarning, match="terminated, but its task has no termination"):
        told(agent, np.zeros(1), np.zeros(1), 0.0, np.zeros(1), True)
