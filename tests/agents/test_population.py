"""Populations of policies, and how they play: one by one or together, with the same bits."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

import elites.envs  # noqa: F401  # registers the maze
from elites import Box
from elites.agents.playing import FEWER, Scores, Seen, Standardiser, play_all
from elites.agents.population import Population
from elites.agents.units import Spaces
from elites.networks import Architecture, NormalHead, Policy
from elites.networks.heads import CategoricalHead, Head
from elites.runs.stages import stage
from elites.spaces import Choices

ARCHITECTURES = [
    Architecture(()),
    Architecture((8,), "tanh"),
    Architecture((8, 6), "elu", "first"),
    Architecture((8, 6), "relu", "all"),
    Architecture((5,), "silu"),
]
HEADS = [None, NormalHead("none", "free"), NormalHead("sample", "state")]
BOX = Spaces.of(3, Box([-2.0, -1.0], [2.0, 1.0]))


def points_of(population: Population, count: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, population.size, generator=Generator().manual_seed(seed))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_policy_of_a_population_is_a_policy(architecture: Architecture, head: Head | None) -> None:
    """With the same weights, biases, gains and spread, the same actions."""
    population = Population(BOX, architecture, head)
    alone: Any = Policy(3, BOX.world, architecture, Generator().manual_seed(0), head)
    mlp, parts = alone.mlp, []
    for layer, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True)):
        parts += [weight.T, bias]
        if layer < len(mlp.gains):
            parts += [mlp.gains[layer] - 1, mlp.offsets[layer]]
    parts += [] if alone.free is None else [alone.free]
    point = torch.cat([part.flatten() for part in parts])
    assert len(point) == population.size
    state = torch.randn(5, 3, generator=Generator().manual_seed(1))
    torch.testing.assert_close(population.at(point[None], 5).act(state[None])[0], alone.action(state))


@pytest.mark.parametrize("head", HEADS[1:])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_actions_have_the_same_bits_in_any_population(architecture: Architecture, head: Head) -> None:
    population = Population(BOX, architecture, head, sampled=True)
    points, state = points_of(population), torch.randn(6, 4, 3, generator=Generator().manual_seed(1))
    policies = population.at(points, 4)
    noise = policies.noise([Generator().manual_seed(seed) for seed in range(6)], 1)
    assert noise is not None
    whole = policies.act(state, noise[:, 0])
    assert not torch.equal(whole, policies.act(state)), "the noise counts"
    for some in (slice(0, 1), slice(2, 5), slice(5, 6)):
        assert torch.equal(population.at(points[some], 4).act(state[some], noise[some, 0]), whole[some])


def test_points_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"points: expected \(N, 8\) for these policies, got \(2, 9\)"):
        Population(BOX).at(torch.zeros(2, 9))
    population = Population(BOX, sampled=True)
    policies = population.at(points_of(population))
    with pytest.raises(ValueError, match="head: expected a normal or categorical one for sampled actions"):
        policies.noise([Generator()] * 6, 1)


def population_for(name: str, sampled: bool) -> Population:
    env = gymnasium.make(name)
    spaces = Spaces.of(env.observation_space.shape[0], env.action_space)  # type: ignore[index]
    head: Head = NormalHead()
    if isinstance(spaces.world, Choices):
        head = CategoricalHead(spaces.world.sizes, squashed=True)
    return Population(spaces, Architecture((4,), "tanh"), head, sampled)


def played(population: Population, points: Tensor, name: str, first: int, normaliser: Standardiser | None) -> Scores:
    seeds = np.arange(first, first + 2 * len(points)).reshape(-1, 2)
    return play_all(population.at(points, 2), stage(name, 2 * len(points), 60), seeds, normaliser)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "elites/Maze-v0", "elites/Reach-v0", "Hopper-v5"])
def test_scores_do_not_depend_on_who_plays_together(name: str, sampled: bool) -> None:
    """Six policies in one batch, or in three of different sizes: returns, lengths and sums, bit for bit."""
    population = population_for(name, sampled)
    points, normaliser = points_of(population), Standardiser(population.spaces.state_size)
    normaliser.mean, normaliser.count, normaliser.square = normaliser.mean + 0.1, 10.0, normaliser.square + 30.0
    whole = played(population, points, name, 0, normaliser)
    parts = [played(population, points[i:j], name, 2 * i, normaliser) for i, j in ((0, 1), (1, 4), (4, 6))]
    for each in ("returns", "lengths"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, each) for part in parts]), getattr(whole, each))
    for each in ("count", "total", "square"):
        both = np.concatenate([getattr(part.seen, each) for part in parts]), getattr(whole.seen, each)
        np.testing.assert_array_equal(*both)


def test_scores_are_those_of_gymnasiums_environment() -> None:
    """Every policy alone in CartPole, step by step. Some fall early, so the batch shrinks."""
    population = population_for("CartPole-v1", sampled=False)
    points, env = points_of(population, 8), gymnasium.make("CartPole-v1", max_episode_steps=60)
    scores = play_all(population.at(points), stage("CartPole-v1", 8, 60), np.arange(8)[:, None])
    for i in range(8):
        observation, _ = env.reset(seed=i)
        total, length, ended = 0.0, 0, False
        while not ended:
            action = population.at(points[i : i + 1]).act(torch.tensor(observation)[None, None])
            observation, reward, terminated, truncated, _ = env.step(population.spaces.to_env(action[0])[0])
            total, length, ended = total + float(reward), length + 1, terminated or truncated
        assert (scores.returns[i, 0], scores.lengths[i, 0]) == (total, length)
    assert np.sort(scores.lengths[:, 0])[int(8 * (1 - FEWER)) + 1] < scores.lengths.max()


def test_the_normaliser_has_the_mean_and_spread_of_all_it_saw() -> None:
    rng, normaliser, everything = np.random.default_rng(0), Standardiser(3), []
    for _ in range(4):
        rows = [rng.normal(5, 2, (count, 3)) for count in (7, 1, 12)]
        everything += rows
        apart = [row - normaliser.mean for row in rows]
        sums = np.stack([x.sum(0) for x in apart]), np.stack([(x**2).sum(0) for x in apart])
        normaliser.take(Seen(np.array([7.0, 1.0, 12.0]), *sums))
    of_all = np.concatenate(everything)
    np.testing.assert_allclose(normaliser.mean, of_all.mean(0))
    np.testing.assert_allclose(normaliser.std, of_all.std(0))
    constant = Standardiser(1)
    constant.take(Seen(np.array([5.0]), np.array([[10.0]]), np.array([[20.0]])))
    assert constant(np.array([2.0])) == 0


def test_episodes_need_a_limit() -> None:
    gymnasium.register("WithoutLimit-v0", entry_point="gymnasium.envs.classic_control:PendulumEnv")
    with pytest.raises(ValueError, match=r"WithoutLimit-v0 does not limit its episodes.*set episode_steps"):
        stage("WithoutLimit-v0", 2)
    assert stage("WithoutLimit-v0", 2, 30).count == 2
