"""What the end of a plan is worth: a value function, learned from what the agent did."""

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

    A plan is a sequence without feedback: where the body is unstable, it falls at the end of every long plan. The value
    says what an agent that plans anew earns from there on, so plans can be short (POLO, Lowrey et al. 2019).
    """

    networks: Count = 3  # of which the mean counts
    architecture: Architecture = Architecture((128, 128), "silu", layer_norm="all", normalise_inputs=True)
    trace: Fraction = 0.95  # λ: 0 believes the value of the next state, 1 only what was earned
    epochs: Count = 5  # times through all steps at every lesson, each with targets made anew
    batch: Count = 256  # steps
    learning_rate: Positive = 1e-3  # Adam's
    learning: LearningPrecision = "bfloat16x3"  # numbers of the products, where the processor has tiles; else float32

    def fit(
        self,
        value: PlanValue,
        episodes: list[Episode],
        discount: float,
        rng: Generator,
        progress: Callable[[int, float], None] | None = None,
    ) -> float:
        """Goes on from the weights that `value` has; the mean squared error left, the targets' variance being 1."""
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
    """States (R, S) -> what the agent earns from there on (R), discounted: the mean of M networks.

    encode: (R, S) -> (R, F), what of a state they see. Before it has learned anything, all states are worth nothing.
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
        """(R, S) -> what the networks see (R, F)."""
        return state if self.encode is None else self.encode(state)

    def scale(self, targets: Tensor) -> None:
        """Values are in units of the spread of these (n), around their mean."""
        std, mean = torch.std_mean(targets, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(std.clamp_min(1e-6))
