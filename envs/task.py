"""The description of an environment for planners and models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from elites.fields import Checked


@dataclass(frozen=True)
class Task(Checked):
    """An environment's functions for flat rows in torch, differentiable: states (R, S), actions (R, A).

    reward, terminated (bool): (state, action, next_state) -> (R,). encode: (R, S) -> (R, F), a model's input, mostly
    `Features` with sin θ and cos θ for an angle θ; None is the state itself. absolute: entries that a model predicts
    directly, not as changes. angles: entries that jump at a full turn. dynamics: (state, action) -> next_state, if
    known. learned_reward: the state has the last reward as one more entry, which the model learns
    (`elites.envs.any_env`).
    """

    reward: Callable[[Tensor, Tensor, Tensor], Tensor]
    terminated: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    encode: Callable[[Tensor], Tensor] | None = None
    absolute: tuple[int, ...] = ()
    angles: tuple[int, ...] = ()
    dynamics: Callable[[Tensor, Tensor], Tensor] | None = None
    learned_reward: bool = False


TASKS: dict[str, Task] = {}  # by the id of the environment; `import elites.envs` fills it
