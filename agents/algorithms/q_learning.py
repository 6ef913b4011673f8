"""The base of algorithms that learn a Q-function from replay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from elites.agents.algorithm import Algorithm
from elites.agents.nets import Nets, Optimizer, Part
from elites.agents.units import Spaces
from elites.fields import Count, Fraction, NonNegative, Positive, Rate
from elites.networks.acting import perturbed
from elites.networks.architecture import Architecture
from elites.networks.critics import Critics
from elites.networks.engine import LearningPrecision
from elites.networks.heads import Head
from elites.networks.policies import Policy
from elites.spaces import Box


class QNets(Nets):
    critics: Critics


class ActorCritic(QNets):
    policy: Policy


@dataclass(frozen=True)
class QLearning(Algorithm):
    """Hyperparameters; the defaults are the CGP paper's (Simmons-Edler et al. 2019, Table 2)."""

    RENAMED: ClassVar[Mapping[str, str]] = {"width": "architecture.hidden"}

    architecture: Architecture = Architecture((256, 256))  # the architecture of the critics and the policy
    critics: Count = 2  # number of Q-functions; with 2, the smaller value is the target, as in TD3
    critic_rate: Positive = 1e-3  # learning rate of the Q-functions
    policy_rate: Positive = 1e-3  # learning rate of the policy
    batch: Count = 128  # transitions of an update
    discount: Fraction = 0.99  # factor of the reward for every step
    tau: Rate = 0.005  # τ: slow ← slow + τ (fast - slow)
    policy_every: Count = 1  # updates of the critics for one update of the policy
    target_every: Count = 2  # updates of the critics for one update of the slow copies
    learning: LearningPrecision = "bfloat16x3"  # number format of products on a processor with tiles; else float32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture.normalise_inputs:
            raise ValueError("architecture.normalise_inputs: expected false, as these inputs are never measured")

    def new_critics(self, spaces: Spaces, rng: Generator) -> Part:
        critics = Critics(spaces.state_size, spaces.action_size, self.critics, self.architecture, rng)
        critics.mlp.precision = self.learning
        return Part(critics, Optimizer(self.critic_rate), slow=True)

    def new_policy(self, spaces: Spaces, rng: Generator, head: Head | None = None, slow: bool = False) -> Part:
        policy = Policy(spaces.state_size, spaces.box, self.architecture, rng, head)
        policy.mlp.precision = self.learning
        return Part(policy, Optimizer(self.policy_rate), slow)


@dataclass(frozen=True)
class DeterministicPolicy(QLearning):
    """The base of agents whose policy climbs Q and explores with normal noise, in half widths of the box."""

    exploration_noise: NonNegative = 0.1  # spread of the noise on actions that collect data

    def build(self, spaces: Spaces, rng: Generator) -> ActorCritic:
        parts = {"critics": self.new_critics(spaces, rng), "policy": self.new_policy(spaces, rng, slow=True)}
        return ActorCritic(spaces, rng, parts)

    def explore(self, nets: ActorCritic, state: Tensor) -> Tensor:
        action = nets.policy.action(state)
        return perturbed(action, nets.normal(action), self.exploration_noise, math.inf)

    def exploit(self, nets: ActorCritic, state: Tensor) -> Tensor:
        return nets.policy.action(state)


def smoothed(action: Tensor, nets: Nets, spread: float, clip: float) -> Tensor:
    """A target's action plus clipped noise (TD3, eq. 14), in half widths of the box. Choices get no noise."""
    if spread == 0 or not isinstance(nets.spaces.action, Box):
        return action
    return perturbed(action, nets.normal(action), spread, clip)
