"""Q-functions and value functions: several networks of one architecture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from elites.networks.architecture import Architecture
from elites.networks.engine import TORCH, Precision
from elites.networks.layers import Layer
from elites.networks.mlp import MLP
from elites.networks.native import engine_for


class Critics(nn.Module):
    """M Q-functions: (state, action) -> values (M, R). Actions are in unit space; choices are one-hot rows."""

    def __init__(
        self, state_size: int, action_size: int, count: int, architecture: Architecture, rng: Generator
    ) -> None:
        super().__init__()
        self.state_size = state_size
        self.mlp = MLP(architecture, state_size + action_size, 1, count, rng)

    def values(self, state: Tensor, action: Tensor) -> Tensor:
        """(R, S), (R, A) -> (M, R)."""
        return self.mlp.scalars(torch.cat([state, action], -1))

    def value(self, state: Tensor, action: Tensor) -> Tensor:
        """The first critic's values: (R, S), (R, A) -> (R)."""
        return self.mlp.scalars(torch.cat([state, action], -1), 1)[0]

    @torch.no_grad()
    def least(self, state: Tensor, actions: Tensor, precision: Precision = "float32") -> Tensor:
        """min_j Q_j(s, a) (R, M) of M actions a state: (R, S), (R, M, A). precision: as in `at`."""
        each = [self.at(state, precision, member)(actions) for member in range(self.mlp.count)]
        return torch.stack(each).amin(0) if len(each) > 1 else each[0]

    def at(self, state: Tensor, precision: Precision = "float32", member: int = 0) -> Callable[[Tensor], Tensor]:
        """One critic at states (B, S), as the objective of a planner: actions (B, N, A) -> (B, N).

        The states' part of the first layer is computed once, not for every candidate. Only actions get a gradient.
        precision: the number format between layers, if no gradient is needed and an engine has it.
        """
        with torch.no_grad():
            (weight, bias, activation), *others = self.mlp.folded(slice(member, member + 1))
            known = torch.addmm(bias.squeeze(0), state, weight[0, : self.state_size])  # (B, width)
        layers = [Layer(weight[:, self.state_size :], known.unsqueeze(0), activation), *others]
        function = engine_for(layers, state).function(layers, precision)

        def objective(actions: Tensor) -> Tensor:
            wanted = torch.is_grad_enabled() and actions.requires_grad
            values = (TORCH.function(layers) if wanted else function)(actions.flatten(0, 1).unsqueeze(0))
            return values.reshape(actions.shape[:2])

        return objective


class Value(nn.Module):
    """M value functions: state -> values (M, R)."""

    def __init__(self, state_size: int, count: int, architecture: Architecture, rng: Generator) -> None:
        super().__init__()
        self.mlp = MLP(architecture, state_size, 1, count, rng)

    def values(self, state: Tensor) -> Tensor:
        """(R, S) -> (M, R)."""
        return self.mlp.scalars(state)
