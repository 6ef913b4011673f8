"""A model from a plain function, and the checks of a user's functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Generator, Tensor

from elites.dynamics.dynamics import Act, Dynamics
from elites.fields import Checked, Range


@dataclass(frozen=True)
class FunctionDynamics(Checked, Dynamics[Tensor]):
    """state' = step(state, action), or step(state, action, noise) with `noise_size` standard normals.

    step sees flat rows: state (R, S), action (R, A), noise (R, Z) -> (R, S).
    """

    step: Callable[..., Tensor]
    noise_size: Annotated[int, Range(0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        accepts(self.step, "dynamics", ["state", "action", "noise"] if self.noise_size else ["state", "action"])

    @property
    def deterministic(self) -> bool:
        return self.noise_size == 0

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> Tensor:
        """(P, H, Z), or (*B, N, P, H, Z)."""
        return torch.randn(*candidates, particles, horizon, self.noise_size, generator=rng, device=rng.device)

    def means(self, horizon: int) -> Tensor:
        return torch.zeros(1, horizon, self.noise_size)

    def rollout(self, state: Tensor, actions: Tensor, drawn: Tensor) -> Tensor:
        *batch, samples, horizon, _ = actions.shape
        particles = drawn.shape[-3]
        lead = (*batch, samples, particles)
        rows = state[..., None, None, :].expand(*lead, -1).flatten(0, -2)  # (R, S)
        actions = actions.unsqueeze(-3).expand(*lead, -1, -1).flatten(0, -3)  # (R, H, A)
        noise = drawn.to(state).expand(*lead, -1, -1).flatten(0, -3)  # (R, H, Z)
        states = []
        for t in range(horizon):
            rows = self._next(rows, actions[:, t], noise[:, t])
            states.append(rows)
        return torch.stack(states, 1).reshape(*lead, horizon, -1)

    def react(
        self, state: Tensor, act: Act, candidates: tuple[int, ...], horizon: int, drawn: Tensor, rough: bool = False
    ) -> tuple[Tensor, Tensor]:
        lead = (*candidates, drawn.shape[-3])
        noise = drawn.to(state).expand(*lead, -1, -1).flatten(0, -3)  # (R · P, H, Z)
        rows = state[..., None, None, :].expand(*lead, -1).flatten(0, -2)
        states, actions = [], []
        for t in range(horizon):
            actions.append(act(rows.reshape(-1, lead[-1], rows.shape[-1])).flatten(0, 1))
            rows = self._next(rows, actions[-1], noise[:, t])
            states.append(rows)
        return tuple(torch.stack(x, 1).reshape(*lead, horizon, -1) for x in (actions, states))  # type: ignore[return-value]

    def _next(self, *inputs: Tensor) -> Tensor:
        """(R, S), (R, A), (R, Z) -> (R, S)."""
        state, given = inputs[0], inputs[: 3 if self.noise_size else 2]
        return checked(self.step(*given), "dynamics", state.shape, state, inputs)


def accepts(function: Callable[..., Any], name: str, arguments: list[str]) -> None:
    """Raises a ValueError if a user's function does not take these arguments."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        got = inspect.signature(function)
        raise ValueError(f"{name}: expected a function of ({', '.join(arguments)}), got one of {got}") from None
    except ValueError:  # a builtin without a signature
        pass


def checked(
    value: Any,
    name: str,
    shape: Sequence[int],
    like: Tensor,
    inputs: Sequence[Tensor],
    dtype: torch.dtype | None = None,
) -> Tensor:
    """A user function's result. Raises one line if its shape, dtype or device is wrong."""
    dtype = dtype or like.dtype
    wanted = f"{name}: expected a tensor of shape {tuple(shape)}, {dtype} on {like.device}"
    if not isinstance(value, Tensor):
        raise ValueError(f"{wanted}, got {type(value).__name__}")
    if value.shape != torch.Size(shape) or value.dtype != dtype or value.device != like.device:
        given = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ValueError(f"{wanted}, got {tuple(value.shape)}, {value.dtype} on {value.device}, for inputs of {given}")
    return value
