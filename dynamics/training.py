"""Fitting a probabilistic ensemble, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.dynamics.ensemble import ProbabilisticEnsemble, soft_variance
from elites.fields import Checked, Count, NonNegative, Positive, Rate
from elites.networks.rollout import network

Progress = Callable[[int, float, float], None]  # (epoch, training loss, validation loss), after every epoch

GOLDEN = (math.sqrt(5) - 1) / 2
STILL = 1e-6  # a spread of targets below which an entry never moved, and is taken in its own unit
BOUND_PENALTY = 0.01  # on the width of the log variance's bounds (Chua et al. 2018, app. A.1)


@dataclass(frozen=True)
class Fit:
    """How a fit went. Held-out figures are of normals with the mean and variance of the ensemble's mixture."""

    epochs: int
    train_loss: float
    validation_loss: float  # mean over members, of the weights that were kept
    rmse: float  # each entry in units of its targets' spread in training: 1 is as good as their mean
    nll: float  # per entry
    coverage_50: float  # share of what happened inside the central intervals of 50 % and 90 %
    coverage_90: float


@dataclass(frozen=True)
class Training(Checked):
    """Adam on the Gaussian negative log likelihood, one bootstrap for each member; the CEM-GD experiments' settings.

    A transition that was once held out always is, so the validation set never leaks into training as data grows. Every
    member keeps its own best weights, those it came with among them.
    """

    epochs: Count = 50  # at most
    batch: Count = 32  # transitions of each member
    learning_rate: Positive = 1e-3  # Adam's
    weight_decay: NonNegative = 5e-5  # Adam's
    validation: Rate = 0.05  # share of the transitions that is held out
    patience: Count = 5  # epochs in which no member improves
    bootstrap: bool = True  # whether each member draws its own transitions, with replacement

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
        model.normalise(seen[~held])
        seen = (seen - model.input_mean) / model.input_std
        inputs, wanted = seen[~held], targets[~held]
        members = model.architecture.members
        rows = torch.arange(len(inputs), device=inputs.device).expand(members, -1)
        if self.bootstrap:
            rows = torch.randint(len(inputs), rows.shape, generator=rng, device=rng.device)

        parameters = list(model.parameters())  # each (M, …)
        optimizer = torch.optim.Adam(parameters, self.learning_rate, weight_decay=self.weight_decay, fused=True)
        with torch.no_grad():
            best_loss = losses(model, seen[held], targets[held])
        best = [parameter.detach().clone() for parameter in parameters]
        train_loss, epoch, idle = math.nan, 0, 0
        for epoch in range(1, self.epochs + 1):
            order = torch.rand(rows.shape, generator=rng, device=rng.device).argsort(-1)
            batches = torch.split(rows.gather(1, order), self.batch, 1)
            total = torch.zeros((), device=state.device)
            for batch in batches:
                loss = losses(model, inputs[batch], wanted[batch]).sum()
                optimizer.zero_grad()
                (loss + BOUND_PENALTY * (model.max_log_var - model.min_log_var).sum()).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.detach()
            with torch.no_grad():
                now = losses(model, seen[held], targets[held])
                better = now < best_loss
                best_loss = torch.where(better, now, best_loss)
                for kept, parameter in zip(best, parameters, strict=True):
                    kept[better] = parameter[better]
            idle = 0 if better.any() else idle + 1
            train_loss = total.item() / (members * len(batches))
            if progress:
                progress(epoch, train_loss, best_loss.mean().item())
            if idle >= self.patience:
                break
        with torch.no_grad():
            for kept, parameter in zip(best, parameters, strict=True):
                parameter.copy_(kept)
        model.elites.copy_(best_loss.argsort()[: len(model.elites)])
        figures = held_out_figures(model, state[held], action[held], targets[held], wanted.std(0, correction=0))
        return Fit(epoch, train_loss, best_loss.mean().item(), *figures)


def losses(model: ProbabilisticEnsemble, inputs: Tensor, targets: Tensor) -> Tensor:
    """Every member's negative log likelihood, per entry, times 2 and without its constant: (M,).

    inputs, normalised, (R, F + A) or (M, R, F + A); targets alike.
    """
    inputs = inputs.expand(model.architecture.members, *inputs.shape[-2:])
    output = network(inputs, model.layers(), model.activation)
    change, raw = output.chunk(2, -1)
    variance = soft_variance(raw, model.min_log_var, model.max_log_var)
    return ((change - targets).square() / variance + variance.log()).mean((-2, -1))


def held_out(count: int, share: float) -> Tensor:
    """Which of the transitions 0, 1, … are held out: (n,), bool. Spread evenly, and the same however many follow."""
    return torch.arange(count, dtype=torch.float64) * GOLDEN % 1 < share


def held_out_figures(
    model: ProbabilisticEnsemble, state: Tensor, action: Tensor, targets: Tensor, spread: Tensor
) -> tuple[float, float, float, float]:
    """RMSE, NLL and coverage, as `Fit` has them, under the mixture of the members that are planned with."""
    with torch.no_grad():
        mean, variance = (x[model.elites] for x in model.predict(state, action))
        change = mean.mean(0) - state * model.relative
        total = variance.mean(0) + mean.var(0, correction=0)  # what members expect, and how they differ
        error = targets - change
        rmse = (error / torch.where(spread < STILL, 1.0, spread)).square().mean().sqrt()
        nll = 0.5 * (error.square() / total + total.log() + math.log(2 * math.pi)).mean()
        z = error.abs() / total.sqrt()
        coverage = [(z < limit).double().mean().item() for limit in (0.6745, 1.6449)]
    return rmse.item(), nll.item(), coverage[0], coverage[1]
