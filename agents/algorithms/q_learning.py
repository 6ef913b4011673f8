"""The base of algorithms that learn a Q-function from replay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.agents.algorithms.networked import Networked
from elites.agents.nets import Nets, Part
from elites.agents.replay import Replay, Rows
from elites.agents.units import Spaces
from elites.fields import Count, NonNegative, Positive, Rate
from elites.networks.acting import perturbed
from elites.networks.critics import Critics
from elites.networks.fitting import bellman
from elites.networks.heads import Head, head_for
from elites.networks.policies import Policy
from elites.spaces import Box, Choices


class QNets(Nets):
    critics: Critics


class ActorCritic(QNets):
    policy: Policy


@dataclass(frozen=True)
class QLearning(Networked):
    """Hyperparameters; the defaults are the CGP paper's (Simmons-Edler et al. 2019, Table 2)."""

    critics: Count = 2  # number of Q-functions; with 2, the smaller value is the target, as in TD3
    tau: Rate = 0.005  # τ: slow ← slow + τ (fast - slow)
    policy_every: Count = 1  # updates of the critics for one update of the policy
    target_every: Count = 2  # updates of the critics for one update of the slow copies
    n_step: Count = 1  # rewards in a target, before the value of the state that follows
    reward_scale: Positive = 1.0  # factor of the rewards

    def sample(self, nets: Nets, data: Replay) -> Rows:
        """A minibatch. With n_step > 1, `reward` and `next_state` are those of n steps."""
        if self.n_step == 1:
            rows = data.sample(self.batch, nets.rng)
        else:
            rows = data.segments(self.batch, self.n_step, nets.rng).ahead(self.discount)
        if self.reward_scale != 1:
            rows.reward = self.reward_scale * rows.reward
        return rows

    def target(
        self, nets: QNets, batch: Rows, next_action: Tensor, entropy: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """r + γ min_j Q'_j(s', a') (R), as in `bellman`."""
        discount = self.discount if self.n_step == 1 else batch.discount
        return bellman(nets.slow.critics, batch, next_action, discount, entropy)

    def new_critics(self, spaces: Spaces, rng: Generator) -> Part:
        critics = Critics(spaces.state_size, spaces.action_size, self.critics, self.network.value, rng)
        critics.mlp.precision = self.learning
        return Part(critics, self.network.value_optimizer, slow=True)


@dataclass(frozen=True)
class DeterministicPolicy(QLearning):
    """The base of agents whose policy climbs Q and explores with normal noise, in half widths of the box.

    exploration_noise: the spread of the noise on actions that collect data, or the share of random choices.
    """

    exploration_noise: NonNegative = 0.1

    @property
    def period(self) -> int:
        return math.lcm(self.policy_every, self.target_every)

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        policy = self.new_policy(spaces, rng, climbing_head(spaces), slow=True)
        return {"critics": self.new_critics(spaces, rng), "policy": policy}

    def explore(self, nets: ActorCritic, state: Tensor) -> Tensor:
        action = nets.policy.action(state)
        if isinstance(nets.spaces.action, Choices):
            return or_random(action, nets, self.exploration_noise)
        return perturbed(action, nets.normal(action), self.exploration_noise, math.inf)

    def exploit(self, nets: ActorCritic, state: Tensor) -> Tensor:
        return nets.policy.action(state)


def climbing_head(spaces: Spaces) -> Head:
    """The head of a policy that climbs Q. Raises a ValueError for several choices at once."""
    if isinstance(spaces.world, Choices) and len(spaces.world.sizes) > 1:
        raise ValueError(f"action space: expected a Box or one choice, got {spaces.world}")
    return head_for(spaces.world)


def or_random(action: Tensor, nets: Nets, share: float) -> Tensor:
    """ε-greedy: actions (R, A), of which a share ε is random."""
    rows = len(action)
    random = torch.rand(rows, 1, generator=nets.rng, device=action.device) < share
    return torch.where(random, nets.spaces.action.uniform(rows, nets.rng), action)


def smoothed(action: Tensor, nets: Nets, spread: float, clip: float) -> Tensor:
    """A target's action plus clipped noise (TD3, eq. 14), in half widths of the box. Choices get no noise."""
    if spread == 0 or not isinstance(nets.spaces.action, Box):
        return action
    return perturbed(action, nets.normal(action), spread, clip)
