"""MuJoCo's own simulator as the model, for planners that need no gradient."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import mujoco
import numpy as np
import torch
from mujoco.rollout import Rollout
from numpy.typing import NDArray
from torch import Generator, Tensor

from elites.fields import Checked, Count

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MujocoDynamics(Checked):
    """Rolls candidates out in parallel threads (`mujoco.rollout`).

    frames: steps of the simulator for one action. physics: observations (R, S) -> (qpos, qvel), (R, nq + nv).
    observed: (qpos, qvel) before and after an action -> observations (R, S).

        env = gymnasium.make("elites/HalfCheetah-v0").unwrapped
        dynamics = MujocoDynamics(env.model, env.frame_skip, env.physics, env.observed)
    """

    model: Any
    frames: Count
    physics: Callable[[Array], Array]
    observed: Callable[[Array, Array], Array]
    threads: Count = field(default_factory=lambda: os.cpu_count() or 1)
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model, mujoco.MjModel):
            raise ValueError(f"MujocoDynamics.model: expected a mujoco.MjModel, got {self.model!r}")
        if self.model.na:
            raise ValueError(f"MujocoDynamics.model: expected no actuator states, got {self.model.na}")
        object.__setattr__(self, "_pool", Rollout(nthread=self.threads))
        object.__setattr__(self, "_data", [mujoco.MjData(self.model) for _ in range(self.threads)])

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> None:
        return None

    def rollout(self, state: Tensor, actions: Tensor, noise: None = None) -> Tensor:
        """state (*B, S), actions (*B, N, H, A) -> the states that follow, (*B, N, 1, H, S)."""
        if torch.is_grad_enabled() and actions.requires_grad:
            raise ValueError("MujocoDynamics: has no gradient; expected a sampling planner, such as CEM or MPPI")
        *lead, horizon, size = actions.shape
        rows = state.unsqueeze(-2).expand(*lead, -1).reshape(-1, state.shape[-1]).cpu().numpy().astype(np.float64)
        control = actions.reshape(-1, horizon, size).cpu().numpy().astype(np.float64).repeat(self.frames, 1)
        start = self.physics(rows)  # (R, nq + nv)
        full = np.concatenate([np.zeros((len(start), 1)), start], 1)  # mjSTATE_FULLPHYSICS: time, qpos, qvel
        states, _ = self._pool.rollout(self.model, self._data, full, control)  # type: ignore[attr-defined]
        after = states[:, self.frames - 1 :: self.frames, 1:]  # (R, H, nq + nv)
        before = np.concatenate([start[:, None], after[:, :-1]], 1)
        width = start.shape[1]
        seen = self.observed(before.reshape(-1, width), after.reshape(-1, width))
        return torch.from_numpy(seen).to(state).reshape(*lead, 1, horizon, -1)
