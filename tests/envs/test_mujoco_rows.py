"""MuJoCo's tasks in rows: the bits of single environments, and the environments that have no rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

import elites.envs  # noqa: F401  # registers the tasks of this package
from elites.envs import mujoco_rows as of
from elites.envs.mujoco import HalfCheetah
from elites.envs.mujoco_rows import mujoco_rows
from elites.runs.environments import make
from elites.runs.stages import Limited, Singles, stage

FORCELESS = {"include_cfrc_ext_in_observation": False, "exclude_current_positions_from_observation": False}
CASES: list[tuple[str, dict[str, Any], int]] = [
    ("Swimmer-v5", {}, 30),
    ("HalfCheetah-v5", {"forward_reward_weight": 2.0}, 30),
    ("Hopper-v5", {}, 60),
    ("Hopper-v5", {"terminate_when_unhealthy": False}, 60),
    ("Walker2d-v5", {}, 60),
    ("Ant-v5", {}, 60),
    ("Ant-v5", FORCELESS, 30),
    ("InvertedPendulum-v5", {}, 30),
    ("elites/HalfCheetah-v0", {}, 30),
    ("elites/HumanoidStandup-v0", {}, 20),
]


@pytest.mark.parametrize(("name", "options", "steps"), CASES, ids=lambda x: x if isinstance(x, str) else "")
def test_rows_have_the_bits_of_single_environments(name: str, options: dict[str, Any], steps: int) -> None:
    """Also after falls, and with any number of rows in a step."""
    count, rng = 5, np.random.default_rng(0)
    singles = [gymnasium.make(name, **options) for _ in range(count)]
    rows = mujoco_rows(gymnasium.make(name, **options), count)
    assert rows is not None
    space: Any = singles[0].action_space
    for first in (0, 7):
        expected = np.stack([env.reset(seed=first + i)[0] for i, env in enumerate(singles)])
        np.testing.assert_array_equal(rows.begin(range(first, first + count)), expected)
        ends = 0
        for step in range(steps):
            which = np.flatnonzero(rng.random(count) < 0.8) if step % 2 else np.arange(count)
            actions = rng.uniform(space.low, space.high, (len(which), *space.shape)).astype(space.dtype)
            alone = [singles[i].step(action)[:3] for i, action in zip(which, actions, strict=True)]
            if not len(which):
                continue
            for one, many in zip(zip(*alone, strict=True), rows.step(which, actions), strict=True):
                np.testing.assert_array_equal(np.stack(one), many)
            ends += sum(bool(terminated) for _, _, terminated in alone)
    falls = name in ("Hopper-v5", "Walker2d-v5", "InvertedPendulum-v5") and options.get(
        "terminate_when_unhealthy", True
    )
    assert bool(ends) == falls or name == "Ant-v5"


def doubled(env: Any) -> Any:
    return gymnasium.wrappers.TransformReward(env, lambda reward: 2 * float(reward))


def own_class(env: Any) -> Any:
    class Own(type(env.unwrapped)):  # type: ignore[misc]
        pass

    return Own()


def own_task(env: Any) -> Any:
    class Own(HalfCheetah):
        pass

    return Own()


def limited_twice(env: Any) -> Any:
    return gymnasium.wrappers.TimeLimit(env, 5)


@pytest.mark.parametrize("change", [doubled, own_class, own_task, limited_twice])
def test_an_environment_of_ones_own_has_no_rows(change: Callable[[Any], Any]) -> None:
    assert mujoco_rows(change(gymnasium.make("Swimmer-v5")), 2) is None
    assert mujoco_rows(gymnasium.make("CartPole-v1"), 2) is None


def other_place(rule: Any, at: Any) -> Any:
    return at.position[:, 1]


def no_place(rule: Any, at: Any) -> Any:
    return rule.env._a_name_that_is_gone


def nothing(rule: Any, at: Any) -> Any:
    return None


@pytest.mark.parametrize("place", [other_place, no_place, nothing])
def test_a_rule_that_does_not_repeat_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    """For example with another release of Gymnasium."""
    monkeypatch.setattr(of.Rule, "place", place)
    assert mujoco_rows(gymnasium.make("Swimmer-v5"), 2) is None
    assert isinstance(stage("Swimmer-v5", 2), Singles)


def test_a_stage_of_rows_cuts_episodes_at_the_limit() -> None:
    fast, slow = stage("Swimmer-v5", 3, 5), Singles([make("Swimmer-v5", 5) for _ in range(3)])
    assert isinstance(fast, Limited)
    for seeds in ([1, 2, 3], [4, 5]):
        np.testing.assert_array_equal(fast.begin(seeds), slow.begin(seeds))
        rows = np.arange(len(seeds))
        for step in range(5):
            action = np.full((len(seeds), 2), 0.1 * step, np.float32)
            found, expected = fast.step(rows, action), slow.step(rows, action)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)
        assert found[3].all()
