"""The base of algorithms whose policy is a distribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from elites.agents.algorithm import OwnNets
from elites.agents.algorithms.networked import Networked
from elites.agents.nets import Nets
from elites.agents.replay import Rows, Schema, transitions
from elites.agents.units import Spaces
from elites.networks.action_distributions import ActionDistribution, NormalAction, Sample
from elites.networks.heads import CategoricalHead, Head, NormalHead
from elites.networks.policies import Policy
from elites.spaces import Choices


class PolicyNets(Nets):
    policy: Policy


@dataclass(frozen=True)
class StochasticPolicy(Networked):
    """It explores by its samples, and acts best by their mode.

    A head without bounds has raw actions outside the box. The environment gets them clipped, and the algorithm learns
    from them as they were. For choices, the head is a softmax, whatever `head` is.
    """

    head: NormalHead = NormalHead()  # the distribution of the actions

    def head_for(self, spaces: Spaces) -> Head:
        return CategoricalHead(spaces.world.sizes) if isinstance(spaces.world, Choices) else self.head

    @property
    def keeps_raw(self) -> bool:
        """Whether the replay has a column of raw actions."""
        return True

    def schema(self, spaces: Spaces) -> Schema:
        return transitions(spaces.state_size, spaces.action_size, raw=self.keeps_raw)

    def columns(self, nets: OwnNets, action: Tensor) -> Mapping[str, Tensor]:
        return {"raw_action": nets.policy.head.raw(action)}

    def explore(self, nets: OwnNets, state: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        sample = nets.policy.sample_raw(state, nets.rng)
        return sample.action, {"raw_action": sample.raw} if self.keeps_raw else {}

    def exploit(self, nets: OwnNets, state: Tensor) -> Tensor:
        found: Tensor = nets.policy.action(state)
        return found


def valued(policy: Policy, of: Sample | Rows) -> Tensor:
    """The actions (R, A) that Q-functions see: raw actions if the head has no bounds."""
    if policy.head.bounded:
        return of.action
    return of.raw if isinstance(of, Sample) else of.raw_action


def violation(of: ActionDistribution) -> Tensor:
    """½ ‖μ - clip(μ)‖² (R): how far the means of normals are outside the box. Without normals it is 0."""
    if not isinstance(of, NormalAction) or of.squashed:
        return torch.zeros(())
    return 0.5 * (of.mean - of.mean.clamp(-1, 1)).square().sum(-1)


def imitation(policy: Policy, state: Tensor, raw: Tensor, weight: Tensor, penalty: float) -> Tensor:
    """The mean of -w ln π(a|s) over raw actions (R, A) with weights (R), and the penalty of means outside the box."""
    of = policy.distribution(state)
    return -(weight * of.log_density(raw)).mean() + penalty * violation(of).mean()
