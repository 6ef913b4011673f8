"""Policies: a network, a head that turns its outputs into a distribution, and the space of the actions."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from elites.networks.acting import NORMAL, POINT, normal_sample, tanh_action
from elites.networks.action_distributions import ActionDistribution, Sample
from elites.networks.architecture import Architecture
from elites.networks.heads import CategoricalHead, Head, head_for
from elites.networks.learning import CompiledMLP
from elites.networks.lessons import ready
from elites.networks.mlp import MLP
from elites.spaces import Box, Choices, Space


class Policy(nn.Module):
    """state (R, S) -> actions. A call returns the environment's units; all methods return unit space.

    Unit space is [-1, 1] for a bounded box, and one-hot rows for choices. head: None takes `head_for` the space.
    """

    def __init__(
        self, state_size: int, space: Space, architecture: Architecture, rng: Generator, head: Head | None = None
    ) -> None:
        super().__init__()
        if len(space.shape) != 1:
            raise ValueError(f"Policy.space: expected the space of a single action, got one of {tuple(space.shape)}")
        self.head = head = head or head_for(space)
        if isinstance(space, Choices) != isinstance(head, CategoricalHead):
            raise ValueError(f"Policy.head: expected a categorical head for choices, another for a box, got {head}")
        if isinstance(space, Box) and head.bounded and not space.bounded:
            raise ValueError(f"Policy.head: expected a head without a tanh for a box without bounds, got {head}")
        self.choices = space if isinstance(space, Choices) else None
        self.mlp = MLP(architecture, state_size, head.outputs(space), 1, rng, linear=True)
        free = head.parameters(space)
        self.free = nn.Parameter(torch.zeros(free, device=rng.device)) if free else None
        self.low: Tensor
        self.high: Tensor
        self.middle: Tensor
        self.reach: Tensor
        self.unit_low: Tensor
        self.unit_high: Tensor
        self.starts: Tensor
        if isinstance(space, Choices):
            self.register_buffer("starts", torch.tensor(space.starts, device=rng.device), persistent=False)
        if isinstance(space, Box):
            values = {"low": space.low, "high": space.high, "middle": space.centre, "reach": space.half}
            values["unit_low"] = torch.where(space.low.isfinite(), -1.0, space.low)
            values["unit_high"] = torch.where(space.high.isfinite(), 1.0, space.high)
            for name, value in values.items():
                self.register_buffer(name, value, persistent=False)

    def forward(self, state: Tensor) -> Tensor:
        """Actions in the environment's units, clamped because rounding can leave the box. Integers for choices."""
        action = self.action(state)
        if self.choices is not None:
            answers = self.choices.answers(action) + self.starts
            return answers.squeeze(-1) if self.choices.single else answers
        return torch.addcmul(self.middle, self.reach, action).clamp(self.low, self.high)

    def distribution(self, state: Tensor) -> ActionDistribution:
        """The distribution of actions at states (R, S)."""
        return self.head(self.mlp.alone(state), self.free)

    def action(self, state: Tensor) -> Tensor:
        """The most likely actions (R, A)."""
        if self.head == POINT and (networks := self._in_kernel(state)):
            return tanh_action(networks, state)
        return self._inside(self.distribution(state).mode())

    def sample(self, state: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
        """Random actions (R, A), and their log densities (R)."""
        action, _, log_density = self.sample_raw(state, rng)
        return action, log_density

    def sample_raw(self, state: Tensor, rng: Generator) -> Sample:
        """Random actions with their raw actions. If actions are clipped, the density is of the raw action."""
        if self.head == NORMAL and (networks := self._in_kernel(state)):
            noise = torch.randn((len(state), networks.outputs // 2), generator=rng)
            return Sample(*normal_sample(networks, state, noise))
        sample = self.distribution(state).sample(rng)
        return sample._replace(action=self._inside(sample.action))

    def _in_kernel(self, state: Tensor) -> CompiledMLP | None:
        """The network in the kernel, if no gradient is needed. Not for subclasses, which can compute something else."""
        networks = ready(self.mlp, state) if type(self) is Policy and not torch.is_grad_enabled() else None
        return networks if networks is not None and state.ndim == 2 and networks.takes(state) else None

    def _inside(self, action: Tensor) -> Tensor:
        return action if self.head.bounded else action.clamp(self.unit_low, self.unit_high)
