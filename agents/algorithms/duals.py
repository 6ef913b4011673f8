"""The dual variables of MPO and V-MPO: the temperature of the E-step, and the trust region of the M-step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from elites.networks.action_distributions import NormalAction

LEAST = -18.0  # of the parameter behind a dual variable
MOST = 1e6  # of a dual variable


class Duals(nn.Module):
    """The dual variables by name, as one module: `duals["temperature"]`."""

    def __init__(self, starts: Mapping[str, tuple[float, int]], device: torch.device) -> None:
        """starts: {name: (the parameter's first value, the number of variables)}."""
        super().__init__()
        self.each = nn.ModuleDict({name: Dual(start, size, device) for name, (start, size) in starts.items()})

    @classmethod
    def of(cls, actions: int, device: torch.device, **others: tuple[float, int]) -> Duals:
        """A temperature, and the multipliers of the mean and of the spread for each of the actions' dimensions."""
        return cls({"temperature": (1.0, 1), "mean": (1.0, actions), "spread": (10.0, actions), **others}, device)

    def __getitem__(self, name: str) -> Dual:
        return cast("Dual", self.each[name])

    def penalty(self, kls: tuple[Tensor, Tensor]) -> Tensor:
        """The M-step's Σ_d α_d KL_d over the divergences of the mean and of the spread (A)."""
        return (self["mean"].value * kls[0]).sum() + (self["spread"].value * kls[1]).sum()

    def trust_loss(self, kls: tuple[Tensor, Tensor], epsilons: tuple[float, float]) -> Tensor:
        """The loss of both multipliers."""
        return trust_loss(self["mean"], kls[0], epsilons[0]) + trust_loss(self["spread"], kls[1], epsilons[1])

    def exploded(self) -> str | None:
        """Multipliers that outweigh every loss, in words: they grow while the policy leaves its trust region."""
        for name in self.each:
            if (largest := self[name].value.max().item()) > MOST:
                return f"a dual variable of the {name} of {largest:.2g} (a smaller learning rate may help)"
        return None


class Dual(nn.Module):
    """Positive numbers (n): softplus(x) + 1e-8."""

    def __init__(self, start: float, size: int, device: torch.device) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((size,), start, device=device))

    @property
    def value(self) -> Tensor:
        """(n), without a gradient."""
        return functional.softplus(self.raw.detach()) + 1e-8

    def learned(self) -> Tensor:
        """(n), with a gradient."""
        if self.raw.requires_grad and (self.raw < LEAST).any():
            with torch.no_grad():
                self.raw.clamp_(min=LEAST)
        return functional.softplus(self.raw) + 1e-8


def temperature_loss(temperature: Dual, values: Tensor, epsilon: float) -> Tensor:
    """η (ε + E_s[ln E_a e^(q/η)]) for values (R, M) of M actions a state. Its minimum is the η whose weights have KL ε.

    This is the dual of the E-step. Furuta et al. 2021 print the logarithm outside E_s. All code has it inside.
    """
    eta = temperature.learned()
    return (eta * (epsilon + torch.logsumexp(values / eta, -1).mean() - math.log(values.shape[-1]))).sum()


def weights(temperature: Dual, values: Tensor) -> Tensor:
    """The E-step's weights e^(q/η) / Σ e^(q/η) of M actions (R, M)."""
    return torch.softmax(values / temperature.value, -1)


def likelihood(new: NormalAction, old: NormalAction, raw: Tensor, weight: Tensor) -> Tensor:
    """The M-step's loss -E_s Σ_a w (ln N(a; μ, σ_old) + ln N(a; μ_old, σ)) for raw actions (R, M, A), weights (R, M).

    So the mean and the spread are fitted apart, each with the other one's old value. Σ w, Σ w (a - μ_old) and
    Σ w (a - μ_old)² are all that it needs of the actions. The slope of a tanh is a constant, and left out.
    """
    row, apart_from_old = weight.unsqueeze(1), raw - old.mean.unsqueeze(1)
    total, first, second = weight.sum(-1, keepdim=True), row @ apart_from_old, row @ apart_from_old.square()
    loss = raw.new_zeros(())
    for one in apart(new, old):
        shift = one.mean - old.mean
        square = second.squeeze(1) - 2 * shift * first.squeeze(1) + total * shift.square()
        density = 0.5 * square * (-2 * one.log_std).exp() + total * (one.log_std + 0.5 * math.log(2 * math.pi))
        loss = loss + density.sum(-1).mean()
    return loss


def apart(new: NormalAction, old: NormalAction) -> tuple[NormalAction, NormalAction]:
    """The normals with only the new mean, and with only the new spread."""
    squashed = new.squashed
    return NormalAction(new.mean, old.log_std, squashed), NormalAction(old.mean, new.log_std, squashed)


def divergences(new: NormalAction, old: NormalAction) -> tuple[Tensor, Tensor]:
    """E_s KL(old ‖ new) of the mean and of the spread, for each dimension (A)."""
    of_mean, of_spread = (old.divergence(one).mean(0) for one in apart(new, old))
    return of_mean, of_spread


def trust_loss(dual: Dual, divergence: Tensor, epsilon: float) -> Tensor:
    """Σ_d α_d (ε - KL_d): α grows while the divergence is above ε."""
    return (dual.learned() * (epsilon - divergence.detach())).sum()
