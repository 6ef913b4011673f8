"""Engines compute networks without a gradient: an engine turns layers into a function."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from elites.networks.layers import Function, Layers, network

# The number format in which networks are computed, if the engine and the processor have it; else float32. `bfloat16x3`
# is a sum of two bfloat16 numbers, multiplied by three products; it has 16 significant bits. `fastest` has 16 bits.
Precision = Literal["float32", "bfloat16x3", "bfloat16", "float16", "fastest"]
LearningPrecision = Literal["float32", "bfloat16x3"]

CACHED_ROWS = 512


class Engine(Protocol):
    """One way to compute networks. All engines agree to rounding."""

    name: str

    def serves(self, layers: Layers, *tensors: Tensor) -> bool:
        """Whether it can compute these activations, and the dtype and device of these inputs."""
        ...

    def function(self, layers: Layers, precision: Precision = "float32") -> Function:
        """The networks as a function of inputs (M or 1, R, in) -> (M, R, out).

        If each of B problems has its own first bias, the R rows are R / B of the first problem, then of the next.
        precision: the number format allowed between two layers.
        """
        ...


class Torch:
    """Any networks on any device. On a CPU it takes few rows at a time, so that hidden values stay in the cache."""

    name = "torch"

    def serves(self, layers: Layers, *tensors: Tensor) -> bool:
        return True

    def function(self, layers: Layers, precision: Precision = "float32") -> Function:
        (weight, bias, activation), *others = layers
        count, problems, width = bias.shape

        def through(x: Tensor, bias: Tensor) -> Tensor:
            """(M, R, in), (M, b, out) -> (M, R, out)."""
            x = torch.bmm(x, weight).view(count, bias.shape[1], -1, width).add_(bias.unsqueeze(2)).flatten(1, 2)
            if activation is not None:
                x = activation(x)
            for matrix, addend, after in others[:-1]:
                x = torch.bmm(x, matrix).add_(addend)
                x = x if after is None else after(x)
            return network(x, others[-1:]) if others else x

        def function(x: Tensor) -> Tensor:
            x = x.expand(count, -1, -1)
            each = x.shape[1] // problems  # rows of a problem
            if x.device.type != "cpu" or x.shape[1] <= CACHED_ROWS:
                return through(x, bias)
            if problems == 1:
                return torch.cat([through(part, bias) for part in torch.split(x, CACHED_ROWS, 1)], 1)
            some = max(1, CACHED_ROWS // max(1, each))
            parts = zip(torch.split(x, some * each, 1), torch.split(bias, some, 1), strict=True)
            return torch.cat([through(*part) for part in parts], 1)

        return function


TORCH = Torch()
