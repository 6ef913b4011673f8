"""What computes networks where no gradient is wanted: an engine makes a function of them."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from elites.networks.layers import Function, Layers, network

# The numbers that networks are computed in where an engine and the processor know them, else float32. `bfloat16x3` is a
# sum of two numbers of bfloat16, of which three products are taken: 16 bits of it count. The fastest have 16 bits.
Precision = Literal["float32", "bfloat16x3", "bfloat16", "float16", "fastest"]
LearningPrecision = Literal["float32", "bfloat16x3"]

CACHED_ROWS = 512


class Engine(Protocol):
    """One way to compute networks; all agree to rounding."""

    name: str

    def serves(self, layers: Layers, *tensors: Tensor) -> bool:
        """Whether it knows these activations, and the type and device of these inputs."""
        ...

    def function(self, layers: Layers, precision: Precision = "float32") -> Function:
        """The networks as a function of inputs (M or 1, R, in) -> (M, R, out).

        Where the first bias is each of B problems' own, the R rows are R / B of the first problem, then of the next.
        precision: what will do for the numbers between two layers.
        """
        ...


class Torch:
    """Any networks on any device; on a CPU so many rows at a time that what lies between stays in its cache."""

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
            each = x.shape[1] // problems  # rows
            if x.device.type != "cpu" or x.shape[1] <= CACHED_ROWS:
                return through(x, bias)
            if problems == 1:
                return torch.cat([through(part, bias) for part in torch.split(x, CACHED_ROWS, 1)], 1)
            some = max(1, CACHED_ROWS // max(1, each))
            parts = zip(torch.split(x, some * each, 1), torch.split(bias, some, 1), strict=True)
            return torch.cat([through(*part) for part in parts], 1)

        return function


TORCH = Torch()
