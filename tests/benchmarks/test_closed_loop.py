"""benchmarks/closed_loop.py: an episode of every seed, and the figures of its table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scripts import loaded

from elites import Space
from elites.planners import RandomShooting


def test_every_seed_has_an_episode_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    script, told = loaded("benchmarks/closed_loop.py"), []
    monkeypatch.setattr(script, "SEEDS", range(3))
    world = replace(script.WORLDS["CartPole-v1"], horizon=5, steps=7)
    space = Space.of(script.make(world.env).action_space, dtype=torch.float32)
    returns, plan_ms = script.episodes(world, RandomShooting(samples=20), space, told.append)
    np.testing.assert_array_equal(returns, 7.0)  # a pole that is planned for does not fall so soon
    assert plan_ms > 0
    assert told[-1] == "step 7 of 7"


def test_the_interval_is_that_of_the_means() -> None:
    script = loaded("benchmarks/closed_loop.py")
    assert script.interval(np.full(10, -2.0)) == (-2.0, -2.0)
    low, high = script.interval(np.array([0.0, 1.0] * 5))
    assert 0.1 < low < 0.3
    assert 0.7 < high < 0.9
