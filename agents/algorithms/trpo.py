"""TRPO (Schulman et al. 2015): the natural gradient, as far as a bound of the KL divergence allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.agents.algorithm import Losses
from elites.agents.algorithms.awr import ValuedPolicy
from elites.agents.algorithms.on_policy import BEGINS_AT_0, TANH, OnPolicy, Segment, standardised
from elites.agents.nets import Optimizer, Part
from elites.agents.network import Network
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, NonNegative, Positive, Rate
from elites.networks.action_distributions import ActionDistribution


@dataclass(frozen=True)
class TRPO(OnPolicy):
    """The defaults are those of sb3-contrib."""

    network: Network = Network(BEGINS_AT_0, TANH, Optimizer(3e-4), Optimizer(1e-3, epsilon=1e-5))
    batch: Count = 128  # of the value's minibatches; the policy takes the whole segment
    kl: Positive = 0.01  # δ: bound of the mean KL divergence
    damping: NonNegative = 0.1  # added to the diagonal of the Fisher matrix
    conjugate_steps: Count = 15
    backtracks: Count = 10  # shorter steps that are tried
    shrinkage: Rate = 0.8  # factor of a shorter step
    value_epochs: Count = 10

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        """The policy has no optimizer: `improve` sets its weights."""
        parts = super().parts(spaces, rng)
        return parts | {"policy": Part(parts["policy"].module, None)}

    def update(self, nets: ValuedPolicy, data: Replay, step: int) -> Losses:
        """Sec. 6 and App. C."""
        segment = self.segment(nets, data)
        segment = segment._replace(advantage=standardised(segment.advantage))
        self.improve(nets, segment)
        yield from self.value_losses(nets, segment, self.value_epochs)

    def improve(self, nets: ValuedPolicy, segment: Segment) -> None:
        """One step of the policy, or none if no step is better within the bound."""
        with torch.no_grad():
            old = nets.policy.distribution(segment.state)
            density = old.log_density(segment.raw)
        now = nets.policy.distribution(segment.state)
        gain = ((now.log_density(segment.raw) - density).exp() * segment.advantage).mean()
        parameters = list(nets.policy.parameters())
        gradient = flat(torch.autograd.grad(gain, parameters, retain_graph=True))
        fisher = self.fisher(old, now, parameters)
        direction = conjugate_gradient(fisher, gradient, self.conjugate_steps)
        curvature = direction @ fisher(direction)
        if not curvature > 0:
            return
        longest, before = direction * (2 * self.kl / curvature).sqrt(), nets.vector("policy")
        for trial in range(self.backtracks):
            nets.set("policy", before + self.shrinkage**trial * longest)
            with torch.no_grad():
                new = nets.policy.distribution(segment.state)
                better = ((new.log_density(segment.raw) - density).exp() * segment.advantage).mean() > gain
                if better and old.divergence(new).sum(-1).mean() < self.kl:
                    return
        nets.set("policy", before)

    def fisher(
        self, old: ActionDistribution, now: ActionDistribution, parameters: Sequence[Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """v -> (F + damping) v, with F the Hessian of the mean KL divergence (App. C.1)."""
        kl = old.divergence(now).sum(-1).mean()
        slope = flat(torch.autograd.grad(kl, parameters, create_graph=True))

        def product(vector: Tensor) -> Tensor:
            return flat(torch.autograd.grad(slope @ vector, parameters, retain_graph=True)) + self.damping * vector

        return product


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def conjugate_gradient(product: Callable[[Tensor], Tensor], b: Tensor, steps: int, tolerance: float = 1e-10) -> Tensor:
    """x with A x = b, for a positive definite A as a product. tolerance: of ‖A x - b‖²."""
    x, residual = torch.zeros_like(b), b.clone()
    direction, error = residual.clone(), residual @ residual
    for _ in range(steps):
        if error < tolerance:
            break
        through = product(direction)
        length = error / (direction @ through)
        x, residual = x + length * direction, residual - length * through
        before, error = error, residual @ residual
        direction = residual + error / before * direction
    return x
