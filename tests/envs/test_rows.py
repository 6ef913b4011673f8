"""The maze and the arm: their numbers, and many of them at once against Gymnasium's vectors of single ones."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from elites.envs import Maze, Reach
from elites.envs.reach import Arm

NAMES = ["elites/Maze-v0", "elites/Reach-v0"]
SHORTEST = [2, 1, 2, 2, 0, 2, 2, 2, 2, 2, 1, 2, 2, 1, 2, 0, 2, 2, 0, 2]


@pytest.mark.filterwarnings("ignore:.*A Box observation space m.*imum value is.*")
@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_accepts_it(name: str) -> None:
    env = gymnasium.make(name, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset()
    picture: Any = env.render()
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("name", NAMES)
def test_many_are_as_many_single_ones(name: str, mode: AutoresetMode) -> None:
    """Ends by the goal and by the limit, every column and the last observations of ended episodes."""
    limit, count = 25, 4
    many = gymnasium.make_vec(name, num_envs=count, max_episode_steps=limit, autoreset_mode=mode)
    singles = SyncVectorEnv([lambda: gymnasium.make(name, max_episode_steps=limit)] * count, autoreset_mode=mode)
    np.testing.assert_array_equal(many.reset(seed=0)[0], singles.reset(seed=0)[0])
    singles.action_space.seed(0)
    ended = np.zeros(count, dtype=bool)
    for step in range(80):
        if mode is AutoresetMode.DISABLED and ended.any():
            for envs in (many, singles):
                envs.reset(options={"reset_mask": ended})
        action = singles.action_space.sample()
        if "Maze" in name:
            action[0] = SHORTEST[min(step, 19)]
        (*ours, info), (*theirs, their_info) = many.step(action), singles.step(action)
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, two)
        ended = ours[2] | ours[3]
        assert ("final_obs" in info) == ("final_obs" in their_info)
        for i in np.flatnonzero(ended) if "final_obs" in info else []:
            np.testing.assert_array_equal(info["final_obs"][i], their_info["final_obs"][i])
    assert isinstance(many.action_space.sample(), np.ndarray)


def test_the_shortest_way_through_the_maze() -> None:
    env = Maze()
    env.reset()
    steps = [env.step(action) for action in SHORTEST]
    assert sum(step[1] for step in steps) == pytest.approx(998.0)
    assert [step[2] for step in steps] == [False] * 19 + [True]


def test_random_actions_in_the_maze_earn_777() -> None:
    """The expected return of 10,000 steps, from the table."""
    world: Any = Maze().world
    count = len(world.next)
    chances = sum(np.eye(count)[world.next[:, action]] / 3 for action in range(3)) * ~world.goal[:, None]
    reward = chances @ np.where(world.goal, 1000.0, 0.0) - 0.1 * ~world.goal
    value = np.zeros(count)
    for _ in range(10_000):
        value = reward + chances @ value
    assert value[world.start] == pytest.approx(777.4, abs=0.05)


def test_what_the_maze_shows() -> None:
    """MiniGrid's numbers, standardised. The agent's cell shows its heading."""
    env = Maze()
    first, _ = env.reset()
    assert first.mean() == pytest.approx(0, abs=1e-6)
    assert first.std(ddof=1) == pytest.approx(1, abs=1e-6)
    second = env.step(1)[0].reshape(9, 9, 3)
    codes = {tuple(np.round(cell, 4)) for cell in second.reshape(-1, 3)}
    assert len(codes) == 4, "wall, empty, goal and agent"
    levels = np.unique(second)
    assert second[1, 1].tolist() == [levels[-1], levels[0], levels[1]], "10, 0, heading 1"
    with pytest.raises(ValueError, match=r"Maze.layout: expected lines of equal length with one S and one G"):
        Maze("###\n#S#\n###")


def test_an_arm_that_stands_still_earns_35_6() -> None:
    env = Reach()
    seen, _ = env.reset()
    assert seen.tolist() == pytest.approx([0.5, 0.5, 0.48, 0.3, 0.452, 0.163, 0.369, 0.43])
    assert sum(env.step(np.zeros(2))[1] for _ in range(100)) == pytest.approx(35.6, abs=0.05)


def test_the_best_of_the_arm_is_73() -> None:
    """The best return on the lattice of whole degrees, by dynamic programming over 100 steps."""
    arm, reach = Arm(), 100
    degrees = np.arange(-reach, reach + 1)
    lattice = np.stack(np.meshgrid(degrees, degrees, indexing="ij"), -1).reshape(-1, 2)
    places = arm.start + np.deg2rad(lattice)
    reward = arm.step(places, np.zeros_like(places))[1].reshape(len(degrees), -1)
    value = np.zeros_like(reward)
    for _ in range(100):
        after = np.pad(reward + value, 1, constant_values=-np.inf)
        moves = [np.roll(after, (i, j), (0, 1))[1:-1, 1:-1] for i in (-1, 0, 1) for j in (-1, 0, 1)]
        value = np.max(moves, 0)
    assert value[reach, reach] == pytest.approx(73.0, abs=0.05)
