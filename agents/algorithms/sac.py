"""Soft actor-critic (Haarnoja et al. 2018), with a temperature that keeps the policy's entropy at a target."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from elites.agents.algorithm import Losses
from elites.agents.algorithms.q_learning import QLearning, QNets
from elites.agents.algorithms.stochastic import StochasticPolicy, valued
from elites.agents.nets import Optimizer, Part
from elites.agents.network import Network
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, NonNegative, Positive
from elites.networks.architecture import Architecture
from elites.networks.climbing import soft_climb
from elites.networks.fitting import fit
from elites.networks.lessons import known
from elites.networks.policies import Policy


class Temperature(nn.Module):
    """α, learned as its logarithm."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.zeros((), device=device))
        self._rate = torch.zeros(())  # holds the gradient for a descent

    @property
    def value(self) -> Tensor:
        """α without a gradient, as a number in the other losses."""
        return torch.tensor(math.exp(self.log.item())) if self._quick else self.log.detach().exp()

    @property
    def _quick(self) -> bool:
        """Whether reading ln α is cheap: it is float32 on the CPU."""
        return self.log.is_cpu and self.log.dtype == torch.float32

    def loss(self, log_density: Tensor, target_entropy: float) -> Tensor:
        """Eq. 18 with ln α instead of α. α falls while the entropy, the mean of -ln π (R), is above the target."""
        log = self.log

        def composed() -> Tensor:
            return -log * (log_density.mean() + target_entropy)

        if not self._quick or log_density.requires_grad:
            return composed()
        surplus = log_density.mean().item() + target_entropy

        def back() -> list[Tensor]:
            return [self._rate.fill_(-surplus)]

        return known(torch.tensor(-log.item() * surplus), [log], (), (log_density,), back, composed)


class SoftActorCritic(QNets):
    policy: Policy
    temperature: Temperature


@dataclass(frozen=True)
class SAC(StochasticPolicy, QLearning):
    """A random policy with target entropy -A. Values include the future entropy: Q - α ln π. π has no slow copy.

    Without the tanh (`head.bound=none`), a penalty keeps actions in the box. With n_step > 1, a target has the entropy
    of its last state only.
    """

    network: Network = Network.of(Architecture((256, 256)), 3e-4)
    target_every: Count = 1
    temperature_rate: Positive = 3e-4  # learning rate of the temperature
    penalty: NonNegative = 1.0  # weight of ‖a - clip(a)‖ in the policy's loss, for heads without bounds

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        parts = {"critics": self.new_critics(spaces, rng), "policy": self.new_policy(spaces, rng, self.head)}
        return parts | {"temperature": Part(Temperature(rng.device), Optimizer(self.temperature_rate))}

    @property
    def period(self) -> int:
        return math.lcm(self.policy_every, self.target_every)

    @property
    def keeps_raw(self) -> bool:
        return not self.head.bounded

    def update(self, nets: SoftActorCritic, data: Replay, step: int) -> Losses:
        """Algorithm 1 of Haarnoja et al. 2018b: eqs. 5 and 6 (Q), 9 (π), and 18 (α) with ln α instead of α."""
        batch, alpha = self.sample(nets, data), nets.temperature.value
        with torch.no_grad():
            following = nets.policy.sample_raw(batch.next_state, nets.rng)
            entropy = alpha, following.log_density
            target = self.target(nets, batch, valued(nets.policy, following), entropy)
        yield "critics", *fit(nets.critics, batch.state, valued(nets.policy, batch), target)

        if step % self.policy_every == 0:
            loss, log_density = soft_climb(nets.policy, nets.critics, batch.state, alpha, nets.rng, self.penalty)
            yield "policy", loss
            yield "temperature", nets.temperature.loss(log_density, -nets.spaces.action_size)
        if step % self.target_every == 0:
            nets.follow(self.tau)
