"""The initial values of weights."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn


@torch.no_grad()
def initialise(
    name: str, weight: Tensor, bias: Tensor, fan_in: int, fan_out: int, rng: Generator, *, last: bool = False
) -> None:
    """Fills a layer's weight and bias in place from a generator. The names are those of `Architecture`."""
    if name == "uniform":
        for parameter in (weight, bias):
            _uniform(parameter, 1 / math.sqrt(fan_in), rng)
        return
    if name == "truncated_normal":
        std = 1 / (2 * math.sqrt(fan_in))
        nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=rng)
    elif name == "xavier":
        _uniform(weight, math.sqrt(6 / (fan_in + fan_out)), rng)
    elif name == "variance_scaling":  # of 1/3 over the outputs: U(±√(3 · 1/3 / out))
        _uniform(weight, 1 / math.sqrt(fan_out), rng)
    elif name == "orthogonal":
        for each in weight if weight.ndim == 3 else [weight]:
            nn.init.orthogonal_(each, 1 if last else math.sqrt(2), generator=rng)
    bias.zero_()


def _uniform(parameter: Tensor, limit: float, rng: Generator) -> None:
    parameter.uniform_(-limit, limit, generator=rng)
