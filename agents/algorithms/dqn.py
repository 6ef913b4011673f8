"""Deep Q-learning for one choice (Mnih et al. 2015), with the double estimate of van Hasselt et al. (2016)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from elites.agents.algorithm import Losses
from elites.agents.algorithms.networked import Networked
from elites.agents.algorithms.q_learning import or_random
from elites.agents.nets import Nets, Part
from elites.agents.network import Network
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Fraction, Positive, Rate
from elites.networks.architecture import Architecture
from elites.networks.mlp import MLP
from elites.spaces import Choices


class DQNNets(Nets):
    slow: DQNNets
    critic: MLP


@dataclass(frozen=True)
class DQN(Networked):
    """A network with a value for every answer. Its own values choose the next answer, and the slow copy's judge it."""

    random_steps = 1_000

    network: Network = Network.of(Architecture((128, 128)), 5e-4)
    exploration: Fraction = 0.1  # ε: the share of random answers
    double: bool = True  # whether the critic chooses the next answer; else its slow copy
    reward_scale: Positive = 1.0  # factor of the rewards; the loss is linear above an error of 1
    tau: Rate = 0.005  # τ: slow ← slow + τ (fast - slow)

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        if not isinstance(spaces.world, Choices) or len(spaces.world.sizes) != 1:
            raise ValueError(f"action space: expected one choice, which DQN needs, got {spaces.world}")
        critic = MLP(self.network.value, spaces.state_size, spaces.action_size, 1, rng, linear=True)
        critic.precision = self.learning
        return {"critic": Part(critic, self.network.value_optimizer, slow=True)}

    def explore(self, nets: DQNNets, state: Tensor) -> Tensor:
        return or_random(self.exploit(nets, state), nets, self.exploration)

    def exploit(self, nets: DQNNets, state: Tensor) -> Tensor:
        return nets.spaces.action.project(nets.critic.alone(state))

    def update(self, nets: DQNNets, data: Replay, step: int) -> Losses:
        """Algorithm 1 of Mnih et al. A terminated episode has no future value."""
        batch = data.sample(self.batch, nets.rng)
        with torch.no_grad():
            judged = nets.slow.critic.alone(batch.next_state)
            chosen = nets.critic.alone(batch.next_state) if self.double else judged
            future = (judged * nets.spaces.action.project(chosen)).sum(-1)
            target = self.reward_scale * batch.reward + self.discount * future * ~batch.terminated
        value = (nets.critic.alone(batch.state) * batch.action).sum(-1)
        yield "critic", functional.smooth_l1_loss(value, target), {"value": value.mean().detach()}
        nets.follow(self.tau)
