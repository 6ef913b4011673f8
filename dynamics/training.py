"""Fits a probabilistic ensemble, and measures how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from elites.dynamics.calibration import variance_factors
from elites.dynamics.ensemble import ProbabilisticEnsemble, soft_variance
from elites.dynamics.weights import Average, Best
from elites.fields import Checked, Count, Fraction, NonNegative, Positive, Rate
from elites.networks.descent import Adam
from elites.networks.engine import LearningPrecision
from elites.networks.learning import gradients_of

Progress = Callable[[int, float, float], None]  # (epoch, training loss, validation loss), after every epoch

GOLDEN = (math.sqrt(5) - 1) / 2
ALONE, TOGETHER = 100, 25  # the first 100 are held out one by one; later ones in groups of 25 neighbours in time
CAUTION = 20  # pseudo-count of transitions that favour a variance factor of 1
BOUND_PENALTY = 1e-3  # weight of the distance between the log variance's bounds (0.01 in Chua et al. 2018, app. A.1)


@dataclass(frozen=True)
class Fit:
    """The result of a fit. Held-out figures treat the ensemble's mixture as a normal of its mean and variance."""

    epochs: int
    train_loss: float
    validation_loss: float  # mean over members, each with its best weights
    rmse: float  # each entry in units of its targets' spread in training; predicting their mean gives 1
    nll: float  # per entry
    coverage_50: float  # share of targets inside the central intervals of 50 % and 90 %
    coverage_90: float


@dataclass(frozen=True)
class Training(Checked):
    """Adam on the Gaussian likelihood of every member, with averaged weights and a calibration at the end.

    A transition that is held out once is held out always. So the validation set never leaks into training as data
    grows. Every member keeps its own best weights, or its first ones. The best weights have the least loss after a
    calibration of their own variances.
    """

    epochs: Count = 50  # the most epochs
    batch: Count | None = None  # transitions of each member in a step; None is n / 32, between 16 and 64
    learning_rate: Positive = 1e-3  # Adam's learning rate
    weight_decay: NonNegative = 1e-3  # Adam's weight decay, on the layers' weights
    beta: Fraction = 0.25  # an error's weight is its variance to this power (Seitzer et al. 2022)
    averaging: Fraction = 0.99  # share of the old average in each step of the weights' running average; 0 is no average
    validation: Rate = 0.1  # share of the transitions to hold out
    patience: Count = 5  # epochs without improvement before training stops
    bootstrap: bool = False  # whether each member draws its own transitions with replacement
    learning: LearningPrecision = "bfloat16x3"  # number format of products on a processor with tiles; else float32

    def fit(
        self,
        model: ProbabilisticEnsemble,
        state: Tensor,
        action: Tensor,
        next_state: Tensor,
        rng: Generator,
        progress: Progress | None = None,
    ) -> Fit:
        """Continues from the model's weights. Transitions (n, S), (n, A), (n, S) are in the order of collection."""
        if len(state) < 2:
            raise ValueError(f"Training.fit: expected at least 2 transitions, got {len(state)}")
        held = held_out(len(state), self.validation).to(state.device)
        seen, targets = model.inputs(state, action), model.targets(state, next_state)
        if not (seen.isfinite().all() and targets.isfinite().all()):
            raise ValueError("Training.fit: expected finite transitions, got NaN or infinity")
        model.normalise(seen[~held], targets[~held])
        seen, wanted = model.mlp.normalised(seen), model.normalised(targets)
        rows = self._rows(model, int((~held).sum()), rng)
        with model.mlp.computed_in(self.learning):
            optimizer = self._optimizer(model)
            average = Average(model, self.averaging)
            best = Best(average.model, _validated(average.model, seen[held], wanted[held]))
            train_loss, epoch, idle = math.nan, 0, 0
            for epoch in range(1, self.epochs + 1):
                train_loss = self._epoch(average, optimizer, seen[~held], wanted[~held], rows, rng)
                idle = 0 if best.improved(_validated(average.model, seen[held], wanted[held])) else idle + 1
                if progress:
                    progress(epoch, train_loss, best.loss.mean().item())
                if idle >= self.patience:
                    break
        best.restore(model)
        model.best_members.copy_(best.loss.argsort()[: len(model.best_members)])
        calibrate(model, state[held], action[held], targets[held])
        figures = held_out_figures(model, state[held], action[held], targets[held], model.target_std)
        return Fit(epoch, train_loss, best.loss.mean().item(), *figures)

    def _optimizer(self, model: ProbabilisticEnsemble) -> torch.optim.Optimizer:
        """Adam with weight decay on weights only, not on biases and bounds."""
        weights = list(model.mlp.weights)
        known = set(map(id, weights))
        others = [parameter for parameter in model.parameters() if id(parameter) not in known]
        groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": self.weight_decay}, {"params": others}]
        return Adam(groups, self.learning_rate, fused=True)

    def _rows(self, model: ProbabilisticEnsemble, count: int, rng: Generator) -> Tensor:
        """The training rows of each member: (M, count)."""
        members, device = model.config.members, model.relative.device
        if self.bootstrap:
            return torch.randint(count, (members, count), generator=rng, device=rng.device)
        return torch.arange(count, device=device).expand(members, -1)

    def _epoch(
        self,
        average: Average,
        optimizer: torch.optim.Optimizer,
        inputs: Tensor,
        targets: Tensor,
        rows: Tensor,
        rng: Generator,
    ) -> float:
        """One pass over every member's rows, in a random order for each member. Returns the mean loss."""
        model, parameters = average.of, [each for group in optimizer.param_groups for each in group["params"]]
        order = torch.rand(rows.shape, generator=rng, device=rng.device).argsort(-1)
        size = self.batch or min(64, max(16, rows.shape[1] // 32))
        batches = torch.split(rows.gather(1, order), size, 1)
        total = torch.zeros((), device=inputs.device)
        for batch in batches:
            loss = losses(model, inputs[batch], targets[batch], self.beta).sum()
            width = (model.max_log_var - model.min_log_var).sum()
            for parameter, gradient in zip(
                parameters, gradients_of(loss + BOUND_PENALTY * width, parameters), strict=True
            ):
                parameter.grad = gradient
            optimizer.step()
            average.follow()
            total += loss.detach()
        return total.item() / (len(rows) * len(batches))


@torch.no_grad()
def _validated(model: ProbabilisticEnsemble, inputs: Tensor, targets: Tensor) -> Tensor:
    """Every member's `losses` with the best factor on each entry's variance: (M,).

    An overconfident member has a larger loss, although its mean still improves. Without factors, training would stop
    too early. The calibration after training corrects the variance in any case.
    """
    change, variance = _predicted(model, inputs)
    error = ((change - targets).square() / variance).mean(-2)
    known = len(targets) / (len(targets) + CAUTION)
    factor = 1 + known * (error - 1)
    return (error / factor + factor.log() + variance.log().mean(-2)).mean(-1)


def losses(model: ProbabilisticEnsemble, inputs: Tensor, targets: Tensor, beta: float = 0.0) -> Tensor:
    """Every member's negative log likelihood per entry, times 2 and without its constant: (M,).

    inputs (R, F + A) or (M, R, F + A) and targets, both normalised. beta: an entry's weight is its variance to this
    power. With beta = 0, an entry with a large variance has a small gradient, so its mean hardly learns.
    """
    change, variance = _predicted(model, inputs)
    loss = (change - targets).square() / variance + variance.log()
    return (loss * variance.detach() ** beta if beta else loss).mean((-2, -1))


def _predicted(model: ProbabilisticEnsemble, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Every member's mean and variance, (M, R, S) each, in the units of normalised targets."""
    change, raw = model.mlp.learning(inputs.expand(model.config.members, *inputs.shape[-2:])).chunk(2, -1)
    return change, soft_variance(raw, model.min_log_var, model.max_log_var)


@torch.no_grad()
def calibrate(model: ProbabilisticEnsemble, state: Tensor, action: Tensor, targets: Tensor) -> None:
    """Sets the factors on the variance from held-out transitions (n, S), (n, A), (n, S)."""
    model.variance_factor.fill_(1)
    mean, variance = (x[model.best_members] for x in model.predict(state, action))
    error = targets - (mean.mean(0) - state * model.relative)
    factors = variance_factors(error.square(), variance.mean(0), mean.var(0, correction=0))
    model.variance_factor.copy_(factors)


def held_out(count: int, share: float) -> Tensor:
    """Whether each of the transitions 0, 1, … is held out: (n,), bool. Spread evenly; later transitions change nothing.

    A transition between its neighbours in time is easy to predict. So groups of neighbours are held out, which tell
    more about new episodes.
    """
    number = torch.arange(count)
    group = torch.where(number < ALONE, number, ALONE + (number - ALONE) // TOGETHER)
    return group.double() * GOLDEN % 1 < share


def held_out_figures(
    model: ProbabilisticEnsemble, state: Tensor, action: Tensor, targets: Tensor, spread: Tensor
) -> tuple[float, float, float, float]:
    """RMSE in units of `spread` (S,), NLL and coverage under the mixture of the members used for planning."""
    with torch.no_grad():
        mean, variance = (x[model.best_members] for x in model.predict(state, action))
        change = mean.mean(0) - state * model.relative
        total = variance.mean(0) + mean.var(0, correction=0)  # the members' variance, and the variance of their means
        error = targets - change
        rmse = (error / spread).square().mean().sqrt()
        nll = 0.5 * (error.square() / total + total.log() + math.log(2 * math.pi)).mean()
        z = error.abs() / total.sqrt()
        coverage = [(z < limit).double().mean().item() for limit in (0.6745, 1.6449)]
    return rmse.item(), nll.item(), coverage[0], coverage[1]
