"""Standard normal noise for sampling, white or correlated in time.

Correlated noise is white noise times a matrix over time whose rows have unit norm. So its variance is 1 at every step,
and a distribution's spread keeps its meaning. A horizon of 1 needs no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from elites.fields import Checked, NonNegative, Rate
from elites.planners.draw import Draw
from elites.spaces import Space


@runtime_checkable
class Noise(Protocol):
    def draw(self, draw: Draw, samples: int) -> Tensor:
        """(*B, samples, *E) with mean 0 and variance 1 in every entry."""
        ...


@dataclass(frozen=True)
class White:
    """Independent at every step."""

    def draw(self, draw: Draw, samples: int) -> Tensor:
        return draw.normal(samples, *draw.space.shape)


@dataclass(frozen=True)
class Coloured(Checked):
    """Power spectral density f^-beta (iCEM, Pinneri et al. 2020, sec. 3.1): 0 white, 1 pink, 2 red.

    The matrix is the symmetric square root of the circulant covariance with this spectrum. f = 0 is replaced by the
    lowest frequency, 1/H.
    """

    beta: NonNegative = 2.0  # the exponent of the power spectrum

    def draw(self, draw: Draw, samples: int) -> Tensor:
        horizon = steps(draw.space)
        frequency = torch.fft.rfftfreq(horizon, dtype=torch.float64).clamp_min(1 / horizon)
        amplitude = frequency ** (-self.beta / 2)
        first_row = torch.fft.irfft(amplitude.to(torch.complex128), n=horizon)
        lag = torch.arange(horizon)
        return over_time(draw, normalised(first_row[(lag[:, None] - lag) % horizon]), samples)


@dataclass(frozen=True)
class Smoothed(Checked):
    """n_t = beta ε_t + (1 - beta) n_{t-1} (PDDM, Nagabandi et al. 2019, sec. 3.2), scaled to variance 1."""

    beta: Rate = 0.7  # the share of new noise in a step

    def draw(self, draw: Draw, samples: int) -> Tensor:
        lag = torch.arange(steps(draw.space))
        difference = lag[:, None] - lag
        decay = torch.tensor(1 - self.beta) ** difference.clamp_min(0)
        return over_time(draw, normalised(decay.tril()), samples)


def steps(space: Space) -> int:
    """The number of time steps: a point's first axis. A point with one axis (an action, weights) has no time: 1."""
    return space.shape[0] if len(space.shape) > 1 else 1


def over_time(draw: Draw, matrix: Tensor, samples: int) -> Tensor:
    """The matrix (H, K) times white noise of K steps: (*B, samples, *E)."""
    shape = draw.space.shape
    if len(shape) < 2:
        return draw.normal(samples, *shape)
    white = draw.normal(samples, matrix.shape[1], shape[1:].numel())
    return (matrix.to(white) @ white).reshape(*white.shape[:-2], *shape)


def normalised(matrix: Tensor) -> Tensor:
    return matrix / matrix.square().sum(1, keepdim=True).sqrt()
