"""The engine of compiled code, for float32 on CPUs: networks/kernel, where it was built."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from elites.networks import library
from elites.networks.engine import TORCH, Engine, Precision
from elites.networks.layers import Function, Layers, leaky_relu, relu, silu, tanh


class CompiledNetworks:
    """Networks as the library is given them. What that points at lives as long as this."""

    def __init__(self, layers: Layers, precision: Precision, kept: int = 1) -> None:
        self.weights, self.biases = [x.weight.contiguous() for x in layers], [x.bias.contiguous() for x in layers]
        members, _, outputs = self.weights[-1].shape
        number, leak = activation_of(layers) or (0, 0.0)
        wanted, starts = get_args(Precision).index(precision), self.biases[0].shape[1]
        self.structure = library.Networks(members, len(layers), outputs, number, starts, wanted, kept, leak)
        self.arrays = {
            "widths": torch.tensor([weight.shape[1] for weight in self.weights], dtype=torch.int32),
            "weight": torch.tensor([x.data_ptr() for x in self.weights]),
            "bias": torch.tensor([x.data_ptr() for x in self.biases]),
        }
        library.point(self.structure, self.arrays)


class Native:
    """What it does not know, torch does. A call keeps as many threads busy as torch's own would.

    Values that do not fit in 16 bits are computed again in float32.
    """

    name = "kernel"

    def serves(self, layers: Layers, *tensors: Tensor) -> bool:
        tensors = (layers[0].weight, *tensors)
        return (
            library.LIBRARY is not None
            and all(x.dtype == torch.float32 and x.device.type == "cpu" for x in tensors)
            and activation_of(layers) is not None
        )

    def function(self, layers: Layers, precision: Precision = "float32") -> Function:
        networks, sizes = CompiledNetworks(layers, precision), library.Sizes()
        library.call("elites_pass_sizes", networks.structure, sizes)

        def function(x: Tensor) -> Tensor:
            x = (x[:1] if x.stride(0) == 0 else x).detach().contiguous()
            structure = networks.structure
            found, scratch = x.new_empty(structure.members, x.shape[1], structure.outputs), library.scratch(sizes)
            stride = 0 if len(x) == 1 else x.stride(0)
            rows = library.Pass(x.shape[1], x.shape[1] // structure.starts, stride, threads=torch.get_num_threads())
            library.point(rows, {"inputs": x, "outputs": found, "scratch": scratch})
            library.call("elites_pass", structure, rows)
            if precision != "float32" and not found.isfinite().all():
                return self.function(layers)(x)
            return found

        return function


NATIVE = Native()


def engine_for(layers: Layers, *tensors: Tensor) -> Engine:
    """The fastest that serves these networks and inputs."""
    return NATIVE if NATIVE.serves(layers, *tensors) else TORCH


def activation_of(layers: Layers) -> tuple[int, float] | None:
    """The number in kernel/interface.h of the one activation of all hidden layers, and its slope below 0."""
    found = {_number(layer.activation) for layer in layers[:-1]} or {(0, 0.0)}
    return found.pop() if len(found) == 1 else None


def _number(function: Function | None) -> tuple[int, float] | None:
    if function is silu or isinstance(function, nn.SiLU):
        return 0, 0.0
    if function is tanh or isinstance(function, nn.Tanh):
        return 1, 0.0
    if function is relu or isinstance(function, nn.ReLU):
        return 2, 0.0
    if function is leaky_relu or isinstance(function, nn.LeakyReLU):
        return 2, getattr(function, "negative_slope", 0.01)
    return None
