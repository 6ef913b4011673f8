"""The MPC objective: the return of an action sequence under a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Generator, Tensor

from elites.dynamics.dynamics import Dynamics, poses_as_dynamics
from elites.dynamics.function import FunctionDynamics, accepts, checked
from elites.fields import Checked, Count, Fraction, NonNegative
from elites.spaces import Space


class Planned(Protocol):
    """The part of a plan that an objective reads."""

    @property
    def best(self) -> Tensor: ...


class Sequences:
    """The base of an objective whose points are sequences of actions (H, A). Tells an MPC agent how to use a plan."""

    shifts = True  # a plan moves forward by the steps taken

    @property
    def engine(self) -> str | None:
        return None

    def space(self, actions: Space, horizon: int) -> Space:
        return actions.repeat(horizon)

    def act(self, plan: Planned, age: Tensor, state: Tensor) -> Tensor:
        """The action of each row's sequence (B, H, A) at its age (B): (B, A)."""
        return plan.best[torch.arange(len(age), device=age.device), age]


@dataclass(frozen=True)
class Return(Checked, Sequences):
    """Mean over particles of Σ γᵗ r(s, a, s') + γᴴ V(s_H), less `risk` times the standard deviation over particles.

    dynamics: a model, or a function of (state, action). The other functions take flat rows, give (R,), and are called
    once for the whole rollout: reward and terminated (bool) of (state, action, next_state), terminal_value of (state).
    If a rollout terminates after a step, its rewards end with that step.
    noise: `common` is the same for all candidates of a plan. The objective is then smooth, and candidates are compared
    under the same luck. `independent` draws new noise for each candidate at every call. gradient: what gradients and
    their line searches follow. `means` are the rollouts of the members' means, one for each member, as in the published
    code of CEM-GD. Samples always have particles. chunk: rollouts in memory at once; None takes the model's number.
    """

    dynamics: Dynamics[Any] | Callable[..., Tensor]
    reward: Callable[..., Tensor]
    terminated: Callable[..., Tensor] | None = None
    terminal_value: Callable[..., Tensor] | None = None
    discount: Fraction = 1.0
    particles: Count = 20
    risk: NonNegative = 0.0
    noise: Literal["common", "independent"] = "common"
    gradient: Literal["particles", "means"] = "particles"
    chunk: Count | None = None

    def __post_init__(self) -> None:
        if poses_as_dynamics(self.dynamics):
            got = type(self.dynamics).__name__
            raise ValueError(f"dynamics: expected a subclass of elites.dynamics.Dynamics or a function, got {got}")
        super().__post_init__()
        transition = ["state", "action", "next_state"]
        accepts(self.reward, "reward", transition)
        if self.terminated:
            accepts(self.terminated, "terminated", transition)
        if self.terminal_value:
            accepts(self.terminal_value, "terminal_value", ["state"])
        if not isinstance(self.dynamics, Dynamics):
            object.__setattr__(self, "dynamics", FunctionDynamics(self.dynamics))

    def at(self, state: Tensor, rng: Generator) -> Callable[[Tensor], Tensor]:
        """The objective from a state (*B, S): actions (*B, N, H, A) -> (*B, N). The first call draws its noise."""
        return _At(self, state, rng)

    @property
    def engine(self) -> str | None:
        return self.dynamics.engine if isinstance(self.dynamics, Dynamics) else None

    entry = 2  # axes of a candidate (H, A)

    def steps(self, candidates: Tensor) -> int:
        """The horizon of candidates (*B, N, H, A)."""
        return candidates.shape[-2]

    def played(self, state: Tensor, candidates: Tensor, drawn: Any, rough: bool) -> Tensor:
        """The values (*B, N) of candidates from a state (*B, S)."""
        assert isinstance(self.dynamics, Dynamics)
        rollout = self.dynamics.rough_rollout if rough else self.dynamics.rollout
        return self.score(state, candidates, rollout(state, candidates, drawn))

    def score(self, state: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        """state (*B, S), actions (*B, N, H, A) or (*B, N, P, H, A), next states (*B, N, P, H, S) -> (*B, N)."""
        lead, horizon = states.shape[:-2], states.shape[-2]
        first = state.reshape(*state.shape[:-1], 1, 1, 1, -1).expand(*lead, 1, -1)
        before = torch.cat([first, states[..., :-1, :]], -2)
        if actions.ndim < states.ndim:
            actions = actions.unsqueeze(-3).expand(*lead, -1, -1)
        alive = None
        if self.terminated:
            done = self._rows(self.terminated, "terminated", (before, actions, states), torch.bool)
            ended = done.cumsum(-1) > 0  # after step t
            alive = torch.cat([torch.zeros_like(ended[..., :1]), ended[..., :-1]], -1).logical_not()  # before step t
            # states after the end are meaningless: the functions, and so the gradient, must not see them
            before = torch.where(alive.unsqueeze(-1), before, first)
            states = torch.where(alive.unsqueeze(-1), states, first)
        rewards = self._rows(self.reward, "reward", (before, actions, states))
        if alive is not None:
            rewards = torch.where(alive, rewards, 0)
        returns = self._discounted(rewards, 0).sum(-1)  # (*B, N, P)
        if self.terminal_value:
            value = self._rows(self.terminal_value, "terminal_value", (states[..., -1, :],))
            if alive is not None:
                value = torch.where(ended[..., -1], 0, value)
            returns = returns + self._discounted(value.unsqueeze(-1), horizon).squeeze(-1)
        if self.risk == 0 or returns.shape[-1] == 1:
            return returns.mean(-1)
        return returns.mean(-1) - self.risk * returns.std(-1, correction=0)

    def _discounted(self, values: Tensor, first: int) -> Tensor:
        """γᵗ times the values (..., T) of steps first, first + 1, …"""
        if self.discount == 1:
            return values
        steps = torch.arange(first, first + values.shape[-1], dtype=values.dtype, device=values.device)
        return values * self.discount**steps

    def _rows(
        self, function: Callable[..., Tensor], name: str, inputs: tuple[Tensor, ...], dtype: torch.dtype | None = None
    ) -> Tensor:
        """Calls a user's function on flat rows: inputs (*L, D) -> (*L)."""
        lead = inputs[0].shape[:-1]
        rows = [x.reshape(-1, x.shape[-1]) for x in inputs]
        return checked(function(*rows), name, (len(rows[0]),), rows[0], rows, dtype).reshape(lead)


class _At:
    """The objective of a `Return` from a state (*B, S), with its `rough` form."""

    def __init__(self, returns: Return, state: Tensor, rng: Generator) -> None:
        assert isinstance(returns.dynamics, Dynamics)
        self.returns, self.state, self.rng = returns, state, rng
        self.dynamics: Dynamics[Any] = returns.dynamics
        self.particles = 1 if self.dynamics.deterministic else returns.particles
        problems = math.prod(state.shape[:-1])
        chunk = self.dynamics.chunk if returns.chunk is None else returns.chunk
        self.together = max(1, chunk // (self.particles * problems))  # candidates of every problem in one call
        self._held: dict[tuple[bool, int], Any] = {}  # the data of rollouts that candidates share

    def __call__(self, actions: Tensor) -> Tensor:
        return self._scored(actions, False)

    def rough(self, actions: Tensor) -> Tensor:
        """The same objective through the model's rough rollout."""
        return self._scored(actions, True)

    def _scored(self, candidates: Tensor, rough: bool) -> Tensor:
        self.dynamics.check_gradient(self.state, candidates)

        def scored(part: Tensor) -> Tensor:
            return self.returns.played(self.state, part, self._data(part, rough), rough)

        axis = -1 - self.returns.entry
        if candidates.shape[axis] <= self.together:
            return scored(candidates)
        return torch.cat([scored(part) for part in torch.split(candidates, self.together, axis)], -1)

    def _data(self, part: Tensor, rough: bool) -> Any:
        """The particles and noise of candidates (*B, N, *E)."""
        horizon, means = self.returns.steps(part), self.returns.gradient == "means" and not rough
        if self.returns.noise == "independent" and not means:
            return self.dynamics.draw(self.particles, horizon, self.rng, tuple(part.shape[: -self.returns.entry]))
        if (key := (means, horizon)) not in self._held:
            of = self.dynamics
            self._held[key] = of.means(horizon) if means else of.draw(self.particles, horizon, self.rng)
        return self._held[key]
