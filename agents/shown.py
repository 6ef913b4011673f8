"""The policy that a search shows, as a module without the search."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elites.agents.playing import TINY
from elites.agents.policy_search import PolicySearch
from elites.networks.action_distributions import CategoricalAction
from elites.networks.layers import Layer, Normalised, network
from elites.spaces import Box


class ShownPolicy(nn.Module):
    """States (N, S) -> the environment's actions (N, A): the actions of `search.act`, if they are certain."""

    def __init__(self, search: PolicySearch) -> None:
        super().__init__()
        self.search, policies = search, search.acting(1)
        self.layers = [_own(layer) for layer in policies.layers]
        self.free = None if policies.free is None else policies.free.clone()
        self.count = len(policies)  # 1, or the members of an ensemble
        unit = search.standardiser
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(()) if unit is None else torch.from_numpy(unit.mean))
        self.register_buffer("std", torch.ones(()) if unit is None else torch.from_numpy(unit.std))

    def forward(self, state: Tensor) -> Tensor:
        space, head = self.search.spaces.world, self.search.population.head
        outputs = network(self._seen(state).expand(len(self.layers[0].weight), -1, -1), self.layers)[: self.count]
        free = None if self.free is None else self.free[: self.count].repeat_interleave(state.shape[0], 0)
        of = head(outputs.flatten(0, 1), free)
        if isinstance(of, CategoricalAction):
            shares = of.shares().reshape(self.count, -1, outputs.shape[-1]).sum(0)
            return space.to_env(CategoricalAction(shares, of.sizes).mode() if self.count > 1 else of.mode())
        action = of.mode() if head.bounded else of.mode().clamp(-1, 1)
        assert isinstance(space, Box)
        return space.from_unit(action.reshape(self.count, state.shape[0], -1).mean(0))

    def _seen(self, state: Tensor) -> Tensor:
        if self.search.form.inputs != "each":
            return ((state.double() - self.mean) / self.std).float()
        apart = state - state.mean(-1, keepdim=True)
        std = (apart.square().sum(-1, keepdim=True) / max(state.shape[-1] - 1, 1)).sqrt()
        return apart / torch.where(std < TINY, 1.0, std)


def _own(layer: Layer) -> Layer:
    """The layer in memory of its own, so that it can be written to a file alone."""
    weight, bias, after = layer
    if isinstance(after, Normalised):
        after = Normalised(after.gain.clone(), after.offset.clone(), after.function)
    return Layer(weight.clone(), bias.clone(), after)
