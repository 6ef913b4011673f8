"""The value of the end of a plan: a value function, learned from the agent's own episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.agents.estimates import lambda_returns
from elites.agents.replay import Episode
from elites.fields import Checked, Count, Fraction, Positive
from elites.networks.architecture import Architecture
from elites.networks.critics import Value
from elites.networks.descent import Adam
from elites.networks.engine import LearningPrecision
from elites.networks.learning import gradients_of
from elites.networks.regression import regression


@dataclass(frozen=True)
class ValueLearning(Checked):
    """TD(λ) over the episodes so far, at every lesson.

    A plan has no feedback, so an unstable body falls at the end of every long plan. The value predicts the return of an
    agent that plans again at every step. With it, plans can be short (POLO, Lowrey et al. 2019).
    """

    networks: Count = 3  # number of networks; the value is their mean
    architecture: Architecture = Architecture((128, 128), "silu", layer_norm="all", normalise_inputs=True)
    trace: Fraction = 0.95  # λ: 0 uses the value of the next state, 1 uses the rewards earned
    epochs: Count = 5  # passes over all steps in a lesson, each with new targets
    batch: Count = 256  # steps of an update
    learning_rate: Positive = 1e-3  # Adam's learning rate
    learning: LearningPrecision = "bfloat16x3"  # number format of products on a processor with tiles; else float32

    def fit(
        self,
        value: PlanValue,
        episodes: list[Episode],
        discount: float,
        rng: Generator,
        progress: Callable[[int, float], None] | None = None,
    ) -> float:
        """Continues from the weights of `value`. Returns the mean squared error, in units of the targets' variance."""
        seen = value.seen(torch.cat([episode.state for episode in episodes]))
        value.mlp.normalise(seen)
        optimizer, error = Adam(list(value.mlp.parameters()), self.learning_rate, fused=True), 0.0
        with value.mlp.computed_in(self.learning):
            for epoch in range(1, self.epochs + 1):
                targets = self._targets(value, episodes, discount)
                if not targets.isfinite().all():
                    raise ValueError("ValueLearning.fit: expected finite rewards and values, got NaN or infinity")
                value.scale(targets)
                wanted = (targets - value.mean) / value.std
                batches = torch.split(torch.randperm(len(seen), generator=rng, device=rng.device), self.batch)
                errors = [self._step(value, optimizer, seen[rows], wanted[rows]) for rows in batches]
                error = torch.stack(errors).mean().item()
                if progress:
                    progress(epoch, error)
        return error

    @torch.no_grad()
    def _targets(self, value: PlanValue, episodes: list[Episode], discount: float) -> Tensor:
        return torch.cat([lambda_returns(e, value(e.next_state), discount, self.trace) for e in episodes])

    def _step(self, value: PlanValue, optimizer: torch.optim.Optimizer, seen: Tensor, wanted: Tensor) -> Tensor:
        loss, _ = regression(value.mlp.scalars(seen), wanted)
        parameters = optimizer.param_groups[0]["params"]
        for parameter, gradient in zip(parameters, gradients_of(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()
        return loss.detach() / value.mlp.count


class PlanValue(Value):
    """States (R, S) -> the agent's discounted return from there (R): the mean of M networks.

    encode: (R, S) -> (R, F), the networks' view of a state. Before the first lesson, all values are 0.
    """

    def __init__(
        self, state_size: int, config: ValueLearning, encode: Callable[[Tensor], Tensor] | None, rng: Generator
    ) -> None:
        seen = state_size if encode is None else encode(torch.zeros(1, state_size, device=rng.device)).shape[-1]
        super().__init__(seen, config.networks, config.architecture, rng)
        self.config, self.encode = config, encode
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros((), device=rng.device))
        self.register_buffer("std", torch.zeros((), device=rng.device))

    def forward(self, state: Tensor) -> Tensor:
        value: Tensor = self.mean + self.std * self.values(self.seen(state)).mean(0)
        return value

    def seen(self, state: Tensor) -> Tensor:
        """(R, S) -> the networks' inputs (R, F)."""
        return state if self.encode is None else self.encode(state)

    def scale(self, targets: Tensor) -> None:
        """Sets the unit and the zero of the networks' outputs: the spread and mean of these targets (n)."""
        std, mean = torch.std_mean(targets, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(std.clamp_min(1e-6))
