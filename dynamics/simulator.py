"""MuJoCo's simulator as the model, for planners that need no gradient."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
import torch
from mujoco.rollout import Rollout
from numpy.typing import NDArray
from torch import Generator, Tensor

from elites.dynamics.dynamics import Act, Dynamics
from elites.fields import Checked, Count

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MujocoDynamics(Checked, Dynamics[None]):
    """Simulates the candidates in parallel threads (`mujoco.rollout`).

    frames: steps of the simulator for one action. physics: observations (R, S) -> (qpos, qvel), (R, nq + nv). If the
    model's actuators have activations, it can also give (qpos, qvel, act), (R, nq + nv + na); else they start at 0.
    observed: the output of `physics` before and after an action -> observations (R, S).

        env = gymnasium.make("elites/HalfCheetah-v0").unwrapped
        dynamics = MujocoDynamics(env.model, env.frame_skip, env.physics, env.observed)
    """

    model: Any
    frames: Count
    physics: Callable[[Array], Array]
    observed: Callable[[Array, Array], Array]
    threads: Count = field(default_factory=lambda: os.cpu_count() or 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model, mujoco.MjModel):
            raise ValueError(f"MujocoDynamics.model: expected a mujoco.MjModel, got {self.model!r}")
        known, size = self._moving + self.model.na, mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        if size != 1 + known:
            raise ValueError(f"MujocoDynamics.model: expected {known} numbers of state beside time, got {size - 1}")
        object.__setattr__(self, "_pool", Rollout(nthread=self.threads))
        object.__setattr__(self, "_data", [mujoco.MjData(self.model) for _ in range(self.threads)])

    @property
    def deterministic(self) -> bool:
        return True

    @property
    def differentiable(self) -> bool:
        return False

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> None:
        return None

    def rollout(self, state: Tensor, actions: Tensor, drawn: None = None) -> Tensor:
        """state (*B, S), actions (*B, N, H, A) -> the next states, (*B, N, 1, H, S)."""
        self.check_gradient(state, actions)
        *lead, horizon, size = actions.shape
        rows = state.unsqueeze(-2).expand(*lead, -1).reshape(-1, state.shape[-1]).cpu().numpy().astype(np.float64)
        control = actions.reshape(-1, horizon, size).cpu().numpy().astype(np.float64).repeat(self.frames, 1)
        start = self._start(rows)
        width = start.shape[1]
        full = self._full(start)
        states, _ = self._pool.rollout(self.model, self._data, full, control)  # type: ignore[attr-defined]
        after = states[:, self.frames - 1 :: self.frames, 1 : 1 + width]  # (R, H, width)
        before = np.concatenate([start[:, None], after[:, :-1]], 1)
        seen = self.observed(before.reshape(-1, width), after.reshape(-1, width))
        return torch.from_numpy(seen).to(state).reshape(*lead, 1, horizon, -1)

    def react(
        self,
        state: Tensor,
        act: Act,
        candidates: tuple[int, ...],
        horizon: int,
        drawn: None = None,
        rough: bool = False,
    ) -> tuple[Tensor, Tensor]:
        observation = state.unsqueeze(-2).expand(*candidates, -1).reshape(-1, 1, state.shape[-1])  # (R, 1, S)
        start = self._start(observation[:, 0].cpu().numpy().astype(np.float64))
        full, width = self._full(start), start.shape[1]
        actions, states = [], []
        for _ in range(horizon):
            action = act(observation)
            self.check_gradient(action)
            control = action.cpu().numpy().astype(np.float64).repeat(self.frames, 1)
            before = full
            after, _ = self._pool.rollout(self.model, self._data, full, control)  # type: ignore[attr-defined]
            full = after[:, -1]
            seen = self.observed(before[:, 1 : 1 + width], full[:, 1 : 1 + width])
            observation = torch.from_numpy(seen).to(state).unsqueeze(1)
            actions.append(action)
            states.append(observation)
        return tuple(torch.stack(x, 2).reshape(*candidates, 1, horizon, -1) for x in (actions, states))  # type: ignore[return-value]

    def _full(self, start: Array) -> Array:
        """The simulator's state (R, 1 + nq + nv + na), mjSTATE_FULLPHYSICS: time, qpos, qvel, act."""
        full = np.zeros((len(start), 1 + self._moving + self.model.na))
        full[:, 1 : 1 + start.shape[1]] = start
        return full

    @property
    def _moving(self) -> int:
        return int(self.model.nq + self.model.nv)

    def _start(self, rows: Array) -> Array:
        """`physics` of observations (R, S), with its shape checked."""
        start = self.physics(rows)
        known = {(len(rows), width) for width in (self._moving, self._moving + self.model.na)}
        if np.shape(start) not in known:
            expected = " or ".join(map(str, sorted(known)))
            raise ValueError(f"MujocoDynamics.physics: expected an array of shape {expected}, got {np.shape(start)}")
        return start
