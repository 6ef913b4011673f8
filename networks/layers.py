"""Networks as tensors: the input of engines, and their meaning in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Function = Callable[[Tensor], Tensor]


class Layer(NamedTuple):
    """A layer of M networks: x (M, R, in) -> activation(x · weight + bias) (M, R, out)."""

    weight: Tensor  # (M, in, out)
    bias: Tensor  # (M, 1, out); in a first layer (M, B, out) if each of B problems has its own
    activation: Function | None  # None after the last layer


Layers = Sequence[Layer]


@dataclass(frozen=True)
class Normalised:
    """An activation after a layer normalisation over the entries of a row: f(gain · (x - mean) / std + offset)."""

    gain: Tensor  # (M, 1, out), or (out,)
    offset: Tensor
    function: Function

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(torch.addcmul(self.offset, functional.layer_norm(x, x.shape[-1:]), self.gain))

    def detach(self) -> Normalised:
        return Normalised(self.gain.detach(), self.offset.detach(), self.function)


def detached(layers: Layers) -> list[Layer]:
    """The same layers, detached from the graph."""
    return [
        Layer(weight.detach(), bias.detach(), after.detach() if isinstance(after, Normalised) else after)
        for weight, bias, after in layers
    ]


def folded(layer: Layer, mean: Tensor, std: Tensor) -> Layer:
    """The layer for inputs x that it takes as (x - mean) / std."""
    weight = layer.weight / std.unsqueeze(-1)
    return Layer(weight, layer.bias - (mean @ weight).unsqueeze(1), layer.activation)


# Activations that work in place if no gradient is kept.


def silu(x: Tensor) -> Tensor:
    return functional.silu(x, inplace=not x.requires_grad)


def relu(x: Tensor) -> Tensor:
    return functional.relu(x, inplace=not x.requires_grad)


def leaky_relu(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, inplace=not x.requires_grad)


def elu(x: Tensor) -> Tensor:
    return functional.elu(x, inplace=not x.requires_grad)


def tanh(x: Tensor) -> Tensor:
    return x.tanh() if x.requires_grad else x.tanh_()


ACTIVATIONS: dict[str, Function] = {"relu": relu, "leaky_relu": leaky_relu, "elu": elu, "silu": silu, "tanh": tanh}


def network(x: Tensor, layers: Layers) -> Tensor:
    """(M, R, in) -> (M, R, out): one batched product per layer, with activations between them."""
    for weight, bias, activation in layers:
        x = torch.baddbmm(bias, x, weight)
        if activation is not None:
            x = activation(x)
    return x
