"""benchmarks/maze.py: exact mean returns, against known ones and against played episodes."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from scripts import loaded

from elites.agents import DQN, Agent, Reinforce
from elites.envs.maze import Grid
from elites.spaces import Choices


@pytest.fixture(scope="module")
def maze() -> ModuleType:
    return loaded("benchmarks/maze.py")


def test_a_random_walk_has_777(maze: ModuleType) -> None:
    assert maze.blind(Grid(), 1 / 3, 1 / 3, 1 / 3) == pytest.approx(777.4, abs=0.05)


def test_the_shortest_way_has_998_and_a_wall_costs_all_steps(maze: ModuleType) -> None:
    grid, steps = Grid(), np.full(324, 10**6)
    steps[grid.goal] = 0
    for _ in range(324):
        steps = np.where(grid.goal, 0, 1 + steps[grid.next].min(1))
    assert steps[grid.start] == 20
    assert maze.worth(grid, np.eye(3)[steps[grid.next].argmin(1)]) == pytest.approx(998.0)
    assert maze.blind(grid, 0, 0, 1) == pytest.approx(-1000.0)


def test_a_line_has_the_returns_and_what_a_policy_sees(maze: ModuleType) -> None:
    grid = Grid()
    shares = np.tile([0.0, 0.25, 0.75], (2, 324, 1))
    shares[1, grid.start] = 0.0, 0.75, 0.25  # one of two policies knows the first state
    name, mean, worst, sees, each = maze.row(grid, "two", shares).strip("| ").split(" | ")
    values = [maze.worth(grid, of) for of in shares]
    assert (name, sees, each) == ("two", "0.25", "0.00, 0.25, 0.75")
    assert (mean, worst) == (f"{np.mean(values):.1f}", f"{min(values):.1f}")


def test_the_mean_of_played_episodes_is_the_exact_one(maze: ModuleType) -> None:
    grid, rng, episodes = Grid(), np.random.default_rng(0), 2000
    state, total, alive = np.full(episodes, grid.start), np.zeros(episodes), np.ones(episodes, dtype=bool)
    for _ in range(10_000):
        state, reward, ended = grid.step(state, rng.choice(3, episodes, p=[0.1, 0.3, 0.6]))
        total += np.where(alive, reward, 0)
        alive &= ~ended
        if not alive.any():
            break
    error = total.std() / np.sqrt(episodes)
    assert maze.blind(grid, 0.1, 0.3, 0.6) == pytest.approx(total.mean(), abs=4 * error)


def test_an_agent_with_a_policy_draws_its_choices(maze: ModuleType) -> None:
    seen, agent = Grid().seen, Agent(Reinforce(), 243, Choices((3,)), seed=0)
    shares = maze.chosen(agent, seen)
    np.testing.assert_allclose(shares.sum(-1), np.ones((1, 324)), rtol=1e-6)
    drawn = np.bincount(agent.act(np.tile(seen[:1], (4000, 1))).ravel(), minlength=3) / 4000
    np.testing.assert_allclose(drawn, shares[0, 0], atol=0.04)


def test_an_agent_without_a_policy_takes_the_best_choice(maze: ModuleType) -> None:
    agent = Agent(DQN(), 243, Choices((3,)), seed=0)
    taken = agent.act(Grid().seen, explore=False).ravel()
    assert (maze.chosen(agent, Grid().seen)[0, np.arange(324), taken] == 1).all()
