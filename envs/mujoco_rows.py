"""MuJoCo tasks whose observations and rewards are functions of many rows: Gymnasium's, and those of this package.

A row is the whole state of one environment. One model and its data step every row in turn, so a step has the bits of
Gymnasium's own environments. (`mujoco.rollout` is 10 to 20 % faster, but forgets where the contact solver was.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
import torch
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv
from gymnasium.envs.mujoco.swimmer_v5 import SwimmerEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray

from elites.envs.mujoco import HalfCheetah, HumanoidStandup

Array = NDArray[Any]
CONTROL = int(mujoco.mjtState.mjSTATE_CTRL)  # a bit; the state holds its parts in the order of their bits
STATE = int(mujoco.mjtState.mjSTATE_FULLPHYSICS) | int(mujoco.mjtState.mjSTATE_WARMSTART) | CONTROL
PLAIN = (OrderEnforcing, PassiveEnvChecker, TimeLimit)  # wrappers that change neither observations nor rewards
TRIED = 3  # steps that a rule must repeat before it is trusted


@dataclass(frozen=True, eq=False)
class Moved:
    """Positions (R, nq), velocities (R, nv) and what else a task measures (R, M)."""

    position: Array
    velocity: Array
    measured: Array

    @property
    def motion(self) -> Array:
        return np.concatenate([self.position, self.velocity], 1)


class Rule:
    """The part of an environment's `step` that follows the simulator. By default, for a runner in the plane."""

    hidden = 1  # the first positions, which a policy does not see

    def __init__(self, env: Any) -> None:
        self.env = env
        self.shown = self.hidden if getattr(env, "_exclude_current_positions_from_observation", False) else 0
        self.alive = getattr(env, "_healthy_reward", 0.0)
        self.ends = getattr(env, "_terminate_when_unhealthy", False)

    def measure(self) -> Array:
        """The numbers (M) that a task reads after a step, beside positions and velocities."""
        return np.empty(0)

    def observe(self, before: Moved, after: Moved) -> Array:
        """(R, S)."""
        return np.concatenate([after.position[:, self.shown :], after.velocity], 1)

    def outcome(self, before: Moved, action: Array, after: Moved, seen: Array, now: Array) -> tuple[Array, Array]:
        """Rewards and whether episodes terminate (R). seen, now: the observations before and after."""
        well = self.well(after)
        speed = (self.place(after) - self.place(before)) / self.env.dt
        effort = self.env._ctrl_cost_weight * np.square(action).sum(1)
        gain = self.env._forward_reward_weight * speed + well * self.alive
        return gain - (effort + self.touch(after)), ~well & self.ends

    def place(self, at: Moved) -> Array:
        return at.position[:, 0]

    def well(self, after: Moved) -> Array:
        """Whether the body is healthy (R)."""
        return np.ones(len(after.position), dtype=bool)

    def touch(self, after: Moved) -> Array | float:
        """The cost of contacts (R)."""
        return 0.0


class Swims(Rule):
    hidden = 2


class Walks(Rule):
    def observe(self, before: Moved, after: Moved) -> Array:
        return np.concatenate([after.position[:, self.shown :], np.clip(after.velocity, -10, 10)], 1)

    def well(self, after: Moved) -> Array:
        height, angle = after.position[:, 1], after.position[:, 2]
        return within(height, self.env._healthy_z_range) & within(angle, self.env._healthy_angle_range)


class Hops(Walks):
    def well(self, after: Moved) -> Array:
        return super().well(after) & within(after.motion[:, 2:], self.env._healthy_state_range).all(1)


class Crawls(Rule):
    """An ant. It measures its torso's place and the forces on its parts."""

    hidden = 2

    def measure(self) -> Array:
        mujoco.mj_rnePostConstraint(self.env.model, self.env.data)
        return np.concatenate([self.env.data.body(self.env._main_body).xpos[:2], self.env.data.cfrc_ext.ravel()])

    def place(self, at: Moved) -> Array:
        return at.measured[:, 0]

    def forces(self, at: Moved) -> Array:
        low, high = self.env._contact_force_range
        return np.clip(at.measured[:, 2:], low, high)

    def observe(self, before: Moved, after: Moved) -> Array:
        parts = [after.position[:, self.shown :], after.velocity]
        felt = self.env._include_cfrc_ext_in_observation
        return np.concatenate([*parts, self.forces(after)[:, 6:]] if felt else parts, 1)  # the first is the world's

    def well(self, after: Moved) -> Array:
        low, high = self.env._healthy_z_range
        height = after.position[:, 2]
        well: Array = np.isfinite(after.motion).all(1) & (low <= height) & (height <= high)
        return well

    def touch(self, after: Moved) -> Array | float:
        cost: Array = self.env._contact_cost_weight * np.square(self.forces(after)).sum(1)
        return cost


class Balances(Rule):
    def outcome(self, before: Moved, action: Array, after: Moved, seen: Array, now: Array) -> tuple[Array, Array]:
        fell = ~np.isfinite(now).all(1) | (np.abs(now[:, 1]) > 0.2)
        return np.where(fell, 0.0, 1.0), fell


class Translated(Rule):
    """A task of this package."""

    def observe(self, before: Moved, after: Moved) -> Array:
        observation: Array = self.env.observed(before.motion, after.motion)
        return observation

    def outcome(self, before: Moved, action: Array, after: Moved, seen: Array, now: Array) -> tuple[Array, Array]:
        rows = [torch.from_numpy(x.astype(np.float64)) for x in (seen, action, now)]
        return self.env.task.reward(*rows).numpy(), np.zeros(len(seen), dtype=bool)


RULES: dict[type, type[Rule]] = {
    SwimmerEnv: Swims,
    HalfCheetahEnv: Rule,
    HopperEnv: Hops,
    Walker2dEnv: Walks,
    AntEnv: Crawls,
    InvertedPendulumEnv: Balances,
    HalfCheetah: Translated,
    HumanoidStandup: Translated,
}


def within(x: Array, bounds: tuple[float, float]) -> Array:
    return (bounds[0] < x) & (x < bounds[1])


class MujocoRows:
    """Environments in rows. `env` begins their episodes, and its data steps them."""

    def __init__(self, env: gymnasium.Env[Any, Any], rule: Rule, count: int) -> None:
        self.env, self.rule, self.count = env, rule, count
        self.model, self.data = rule.env.model, rule.env.data
        self._whole = mujoco.mj_stateSize(self.model, STATE)
        before_it = mujoco.mj_stateSize(self.model, STATE & (CONTROL - 1))
        self._control = slice(before_it, before_it + self.model.nu)
        self._rows = np.zeros((count, self._whole + len(rule.measure())))
        assert env.observation_space.shape
        self._seen = np.zeros((count, *env.observation_space.shape))

    def begin(self, seeds: Sequence[int]) -> Array:
        """Begins an episode in the first rows. Returns observations (n, S)."""
        for number, (seed, parts) in enumerate(zip(seeds, self._parts(self._rows), strict=False)):
            self._seen[number], _ = self.env.reset(seed=seed)
            self._take(*parts)
        return np.array(self._seen[: len(seeds)])

    def step(self, rows: Array, action: Array) -> tuple[Array, Array, Array]:
        """(n,), (n, A) -> observations (n, S), rewards and whether episodes terminate (n)."""
        state = self._rows[rows]
        before = self._moved(state.copy())
        state[:, self._control] = action
        model, data, frames = self.model, self.data, self.rule.env.frame_skip
        for row, measured in self._parts(state):
            mujoco.mj_setState(model, data, row, STATE)
            mujoco.mj_step(model, data, nstep=frames)
            self._take(row, measured)
        after = self._moved(state)
        now = self.rule.observe(before, after)
        reward, terminated = self.rule.outcome(before, action, after, self._seen[rows], now)
        self._rows[rows], self._seen[rows] = state, now
        return now, reward, terminated

    def _parts(self, rows: Array) -> Iterator[tuple[Array, Array]]:
        """The simulator's state in every row, and what the task measures."""
        return zip(rows[:, : self._whole], rows[:, self._whole :], strict=True)

    def _take(self, row: Array, measured: Array) -> None:
        """Reads the simulator's data into the parts of a row."""
        mujoco.mj_getState(self.model, self.data, row, STATE)
        if measured.size:
            measured[:] = self.rule.measure()

    def _moved(self, state: Array) -> Moved:
        nq, nv = self.model.nq, self.model.nv
        return Moved(state[:, 1 : 1 + nq], state[:, 1 + nq : 1 + nq + nv], state[:, self._whole :])


def mujoco_rows(env: gymnasium.Env[Any, Any], count: int) -> MujocoRows | None:
    """Rows of this environment. None if no rule is known, or if the rule does not repeat a few of its steps.

    The caller cuts the episodes at the environment's limit.
    """
    inner = env.unwrapped
    outer, limits = env, 0
    while isinstance(outer, PLAIN):
        outer, limits = outer.env, limits + isinstance(outer, TimeLimit)
    kind = RULES.get(type(inner))
    if kind is None or outer is not inner or limits > 1 or not isinstance(inner, MujocoEnv) or inner.render_mode:
        return None
    try:
        rows = MujocoRows(env, kind(inner), count)
        return rows if _repeats(rows, env) else None
    except (AttributeError, TypeError, ValueError):  # another release of Gymnasium
        return None


def _repeats(rows: MujocoRows, env: gymnasium.Env[Any, Any]) -> bool:
    """Whether rows have the bits of the environment in the first steps of an episode."""
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(TRIED)]
    env.reset(seed=0)
    expected = [env.step(action)[:3] for action in actions]
    rows.begin([0])
    found = [[x[0] for x in rows.step(np.zeros(1, dtype=int), action[None])] for action in actions]
    pairs = [pair for one, other in zip(expected, found, strict=True) for pair in zip(one, other, strict=True)]
    return all(np.array_equal(one, other) for one, other in pairs)
