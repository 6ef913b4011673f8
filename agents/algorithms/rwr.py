"""RWR (Peters and Schaal 2007): regression on the actions, weighted by transformed returns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, nn

from elites.agents import batches
from elites.agents.algorithm import Losses
from elites.agents.algorithms.episodes import ended, joined
from elites.agents.algorithms.stochastic import PolicyNets, StochasticPolicy, imitation
from elites.agents.estimates import lambda_returns
from elites.agents.nets import Part
from elites.agents.network import AWRNetwork, Network
from elites.agents.pace import Pace
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, NonNegative
from elites.networks.heads import NormalHead


class Sharpness(nn.Module):
    """β of the weights β e^(-β (R_max - R)). 0 before the first update."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, device=device), requires_grad=False)


class RWRNets(PolicyNets):
    sharpness: Sharpness


@dataclass(frozen=True)
class RWR(StochasticPolicy):
    """The weights are u(R) = β e^(-β (R_max - R)) for the return to go R, and β is learned by the same EM.

    Furuta et al. 2021 (App. C) print β e^(-β r), which prefers low rewards. Peters and Schaal write it for a cost.
    """

    random_steps = 0
    by_episode = True

    network: Network = AWRNetwork()
    head: NormalHead = NormalHead("none", "fixed", 0.4)
    capacity: Count = 50_000
    pace: Pace = Pace(1, 2048)
    batch: Count = 256
    policy_steps: Count = 1000  # steps of descent for 2048 new transitions
    penalty: NonNegative = 10.0  # weight of the mean's distance from the box

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        policy = self.new_policy(spaces, rng, self.head_for(spaces))
        return {"policy": policy, "sharpness": Part(Sharpness(rng.device), None)}

    def update(self, nets: RWRNets, data: Replay, step: int) -> Losses:
        """Peters and Schaal 2007, eqs. 12 to 14, with a network for the policy."""
        episodes = ended(data)
        if not episodes:
            return
        state, raw = joined(episodes, "state", "raw_action")
        nothing = torch.zeros(())
        returns = [lambda_returns(e, nothing.expand(e.length), self.discount, 1.0) for e in episodes]
        cost = torch.cat(returns).max() - torch.cat(returns)
        beta = nets.sharpness.beta if step > 1 else 1 / cost.mean().clamp_min(1e-6).unsqueeze(0)
        utility = (-beta * cost).exp()
        nets.set("sharpness", utility.sum().unsqueeze(0) / (utility * cost).sum().clamp_min(1e-6))

        weight = utility / utility.mean()
        steps = math.ceil(self.policy_steps * self.pace.every / 2048)
        for rows in batches.steps(len(state), self.batch, steps, nets.rng):
            loss = imitation(nets.policy, state[rows], raw[rows], weight[rows], self.penalty)
            yield "policy", loss, {"beta": nets.sharpness.beta.sum()}
