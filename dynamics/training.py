"""Fitting a probabilistic ensemble, and how far to trust it."""

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
ALONE, TOGETHER = 100, 25  # each of the first so many is held out by itself; later ones with their neighbours in time
CAUTION = 20  # transitions as large as expected, which a factor on the variance has to outweigh
BOUND_PENALTY = 1e-3  # on the width of the log variance's bounds (Chua et al. 2018, app. A.1, have 0.01)


@dataclass(frozen=True)
class Fit:
    """How a fit went. Held-out figures are of normals with the mean and variance of the ensemble's mixture."""

    epochs: int
    train_loss: float
    validation_loss: float  # mean over members, of the weights that were best
    rmse: float  # each entry in units of its targets' spread in training: 1 is as good as their mean
    nll: float  # per entry
    coverage_50: float  # share of what happened inside the central intervals of 50 % and 90 %
    coverage_90: float


@dataclass(frozen=True)
class Training(Checked):
    """Adam on a Gaussian likelihood of every member, averaged weights, and variances calibrated at the end.

    A transition that was once held out always is, so the validation set never leaks into training as data grows. Every
    member keeps its own best weights, those it came with among them. The best have the least loss that would be left if
    their own variances were calibrated.
    """

    epochs: Count = 50  # at most
    batch: Count | None = None  # transitions of each member; None is a 32nd of all, between 16 and 64
    learning_rate: Positive = 1e-3  # Adam's
    weight_decay: NonNegative = 1e-3  # Adam's, of the layers' weights
    beta: Fraction = 0.25  # each error counts as much as its variance to this power (Seitzer et al. 2022)
    averaging: Fraction = 0.99  # share of the weights' running average that stays at every step; 0 is no average
    validation: Rate = 0.1  # share of the transitions that is held out
    patience: Count = 5  # epochs in which no member improves
    bootstrap: bool = False  # whether each member draws its own transitions, with replacement
    learning: LearningPrecision = "bfloat16x3"  # numbers of the products, where the processor has tiles; else float32

    def fit(
        self,
        model: ProbabilisticEnsemble,
        state: Tensor,
        action: Tensor,
        next_state: Tensor,
        rng: Generator,
        progress: Progress | None = None,
    ) -> Fit:
        """Goes on from the weights that the model has. (n, S), (n, A), (n, S), in the order in which they were seen."""
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
        """Neither biases nor bounds decay."""
        weights = list(model.mlp.weights)
        known = set(map(id, weights))
        others = [parameter for parameter in model.parameters() if id(parameter) not in known]
        groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": self.weight_decay}, {"params": others}]
        return Adam(groups, self.learning_rate, fused=True)

    def _rows(self, model: ProbabilisticEnsemble, count: int, rng: Generator) -> Tensor:
        """Which of the training rows each member learns from: (M, count)."""
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
        """Once through every member's rows, in an order of its own; the mean loss."""
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
    """Every member's `losses` with the factor on each entry's variance that is best for it: (M,).

    Without factors a member that has become too sure seems to get worse, and training would stop, while its mean still
    learns and calibration follows anyway.
    """
    change, variance = _predicted(model, inputs)
    error = ((change - targets).square() / variance).mean(-2)
    known = len(targets) / (len(targets) + CAUTION)
    factor = 1 + known * (error - 1)
    return (error / factor + factor.log() + variance.log().mean(-2)).mean(-1)


def losses(model: ProbabilisticEnsemble, inputs: Tensor, targets: Tensor, beta: float = 0.0) -> Tensor:
    """Every member's negative log likelihood, per entry, times 2 and without its constant: (M,).

    inputs (R, F + A) or (M, R, F + A) and targets, both normalised. beta: every entry counts as much as its variance to
    this power. The likelihood alone hardly learns what it has once called noise.
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
    """Sets the factors on the variance by held-out transitions (n, S), (n, A), (n, S)."""
    model.variance_factor.fill_(1)
    mean, variance = (x[model.best_members] for x in model.predict(state, action))
    error = targets - (mean.mean(0) - state * model.relative)
    factors = variance_factors(error.square(), variance.mean(0), mean.var(0, correction=0))
    model.variance_factor.copy_(factors)


def held_out(count: int, share: float) -> Tensor:
    """Which of the transitions 0, 1, … are held out: (n,), bool. Spread evenly, and the same however many follow.

    One between its neighbours in time is half known from them, and would promise more than a new episode keeps.
    """
    number = torch.arange(count)
    group = torch.where(number < ALONE, number, ALONE + (number - ALONE) // TOGETHER)
    return group.double() * GOLDEN % 1 < share


def held_out_figures(
    model: ProbabilisticEnsemble, state: Tensor, action: Tensor, targets: Tensor, spread: Tensor
) -> tuple[float, float, float, float]:
    """RMSE in units of spread (S,), NLL and coverage under the mixture of the members that are planned with."""
    with torch.no_grad():
        mean, variance = (x[model.best_members] for x in model.predict(state, action))
        change = mean.mean(0) - state * model.relative
        total = variance.mean(0) + mean.var(0, correction=0)  # what members expect, and how they differ
        error = targets - change
        rmse = (error / spread).square().mean().sqrt()
        nll = 0.5 * (error.square() / total + total.log() + math.log(2 * math.pi)).mean()
        z = error.abs() / total.sqrt()
        coverage = [(z < limit).double().mean().item() for limit in (0.6745, 1.6449)]
    return rmse.item(), nll.item(), coverage[0], coverage[1]
