"""Plans that are policies: a point is the weights of a small network, which acts in closed loop through the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from elites.agents.population import Population
from elites.dynamics import Dynamics, Return
from elites.dynamics.closed_loop import TanhPolicies
from elites.dynamics.function import accepts
from elites.dynamics.returns import Planned
from elites.fields import Count
from elites.networks.heads import Deterministic
from elites.spaces import Box, Space


@dataclass(frozen=True)
class PolicyReturn(Return):
    """The return of a policy's weights (D): every action answers the state that its particle has reached.

    A sequence of actions is blind to what the noise does; a policy reacts to it (POPLIN-P, Wang & Ba 2020). The next
    plan begins with the last plan's weights, as they are. population: the form of the policies. horizon: steps of a
    rollout. inputs: states (..., S) -> the policies' inputs (..., F); None is the states themselves.
    """

    population: Population = field(kw_only=True)
    horizon: Count = field(kw_only=True)
    inputs: Callable[[Tensor], Tensor] | None = field(default=None, kw_only=True)

    shifts = False  # weights have no time
    entry = 1  # axes of a candidate (D)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inputs:
            accepts(self.inputs, "inputs", ["state"])

    def space(self, actions: Space, horizon: int) -> Space:
        """All weights, without bounds."""
        world = self.population.spaces.world
        if horizon != self.horizon:
            raise ValueError(f"PolicyReturn: expected its own horizon, {self.horizon}, got {horizon}")
        if not _same(actions, world) or actions.device != world.device:
            raise ValueError(f"PolicyReturn: expected the population's actions, {world}, got {actions}")
        return self.population.space.to(dtype=actions.dtype, device=actions.device)

    def steps(self, candidates: Tensor) -> int:
        return self.horizon

    def played(self, state: Tensor, candidates: Tensor, drawn: Any, rough: bool) -> Tensor:
        """state (*B, S), candidates (*B, N, D) -> (*B, N)."""
        assert isinstance(self.dynamics, Dynamics)
        act, lead = self._acting(candidates.flatten(0, -2)), tuple(candidates.shape[:-1])
        actions, states = self.dynamics.react(state, act, lead, self.horizon, drawn, rough)
        return self.score(state, actions, states)

    def act(self, plan: Planned, age: Tensor, state: Tensor) -> Tensor:
        """The actions (B, A) of each row's policy (B, D) in its state (B, S). Its age does not matter."""
        with torch.no_grad():
            return self._acting(plan.best)(state.unsqueeze(1)).squeeze(1)

    def _acting(self, weights: Tensor) -> Callable[[Tensor], Tensor]:
        """Policies (R, D) as a function: states (R, P, S) -> actions of the environment's space (R, P, A)."""
        made: dict[int, Any] = {}
        world = self.population.spaces.world

        def act(state: Tensor) -> Tensor:
            rows = state.shape[1]
            if rows not in made:
                made[rows] = self.population.at(weights, rows)
            action = made[rows].act(state if self.inputs is None else self.inputs(state))
            return world.from_unit(action) if isinstance(world, Box) else action

        if not isinstance(self.population.head, Deterministic) or not isinstance(world, Box):
            return act
        layers, _ = self.population.layers(weights)
        return TanhPolicies(act, layers, self.inputs, world.centre, world.half)


def _same(one: Space, other: Space) -> bool:
    if isinstance(one, Box) and isinstance(other, Box):
        same = one.shape == other.shape
        return same and bool(
            (one.low.to(other.low) == other.low).all() and (one.high.to(other.high) == other.high).all()
        )
    return one == other
