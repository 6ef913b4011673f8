"""The compiled engine, for float32 on CPUs: networks/kernel, if it was built."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from elites.networks import library
from elites.networks.engine import TORCH, Engine, Precision
from elites.networks.layers import Function, Layers, Normalised, elu, leaky_relu, relu, silu, tanh

LEAKY = 2  # as in kernel/interface.h


class CompiledNetworks:
    """Networks in the library's form. It owns the memory to which its structure points."""

    def __init__(self, layers: Layers, precision: Precision) -> None:
        self.weights, self.biases = [x.weight.contiguous() for x in layers], [x.bias.contiguous() for x in layers]
        members, _, outputs = self.weights[-1].shape
        numbers, leak = activations_of(layers) or ([], 0.0)
        normalised = [layer.activation for layer in layers if isinstance(layer.activation, Normalised)]
        self.gains = [_of_each(after.gain, members) for after in normalised]
        self.offsets = [_of_each(after.offset, members) for after in normalised]
        wanted, starts = get_args(Precision).index(precision), self.biases[0].shape[1]
        counts = (members, len(layers), outputs, starts, wanted, len(normalised))
        self.structure = library.Networks(*counts, leak)
        lists = {"weight": self.weights, "bias": self.biases, "gain": self.gains, "offset": self.offsets}
        self.arrays = {
            "widths": torch.tensor([weight.shape[1] for weight in self.weights], dtype=torch.int32),
            "activations": torch.tensor(numbers, dtype=torch.int32),
            **{name: torch.tensor([x.data_ptr() for x in some]) for name, some in lists.items()},
        }
        library.point(self.structure, self.arrays)


class Native:
    """The compiled engine. Torch computes what it cannot. A call uses as many threads as torch.

    If values do not fit in 16 bits, they are computed again in float32.
    """

    name = "kernel"

    def serves(self, layers: Layers, *tensors: Tensor) -> bool:
        tensors = (layers[0].weight, *tensors)
        return (
            library.LIBRARY is not None
            and all(x.dtype == torch.float32 and x.device.type == "cpu" for x in tensors)
            and activations_of(layers) is not None
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
    """The fastest engine that can compute these networks and inputs."""
    return NATIVE if NATIVE.serves(layers, *tensors) else TORCH


def activations_of(layers: Layers) -> tuple[list[int], float] | None:
    """The hidden layers' activations as numbers of kernel/interface.h, and their common slope below 0.

    None if the kernel cannot compute them: other activations, two slopes, a normalised layer after one without it.
    """
    after = [layer.activation for layer in layers[:-1]]
    normalised = [isinstance(function, Normalised) for function in after]
    found = [_number(function.function if isinstance(function, Normalised) else function) for function in after]
    numbers, leaks = [one[0] for one in found if one], {one[1] for one in found if one and one[0] == LEAKY}
    if len(numbers) < len(found) or len(leaks) > 1 or normalised != sorted(normalised, reverse=True):
        return None
    return numbers, leaks.pop() if leaks else 0.0


def _of_each(parameter: Tensor, members: int) -> Tensor:
    """(M, 1, out) or (out,) -> (M, 1, out)."""
    return parameter.expand(members, 1, -1).contiguous()


def _number(function: Function | None) -> tuple[int, float] | None:
    if function is silu or isinstance(function, nn.SiLU):
        return 0, 0.0
    if function is tanh or isinstance(function, nn.Tanh):
        return 1, 0.0
    if function is relu or isinstance(function, nn.ReLU):
        return LEAKY, 0.0
    if function is elu or (isinstance(function, nn.ELU) and function.alpha == 1):
        return 3, 0.0
    if function is leaky_relu or isinstance(function, nn.LeakyReLU):
        return LEAKY, getattr(function, "negative_slope", 0.01)
    return None
