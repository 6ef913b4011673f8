"""M networks of one architecture: dynamics ensembles, critics, policies."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from elites.networks.architecture import Architecture
from elites.networks.engine import LearningPrecision
from elites.networks.initialisation import initialise
from elites.networks.layers import ACTIVATIONS, Function, Layer, Layers, Normalised, folded, network, tanh
from elites.networks.learning import CompiledMLP, compiled, through


class MLP(nn.Module):
    """(M, R, in) -> (M, R, out); (R, in) if all networks get the same inputs. `rng` draws the weights.

    Weights are (M, in, out), biases (M, 1, out). linear: the weights of a single network are (out, in) and (out,), like
    nn.Linear's. This form is faster for optimizers and single rows.
    """

    def __init__(
        self, architecture: Architecture, inputs: int, outputs: int, count: int, rng: Generator, *, linear: bool = False
    ) -> None:
        super().__init__()
        if linear and count != 1:
            raise ValueError(f"MLP.count: expected 1 with linear weights, got {count}")
        self.architecture, self.count, self.linear = architecture, count, linear
        a = architecture
        self.activation: Function = ACTIVATIONS[a.activation]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise([inputs, *a.hidden, outputs])):
            shapes = ((fan_out, fan_in), (fan_out,)) if linear else ((count, fan_in, fan_out), (count, 1, fan_out))
            weight, bias = (torch.empty(shape, device=rng.device) for shape in shapes)
            initialise(a.initialisation, weight, bias, fan_in, fan_out, rng, last=layer == len(a.hidden))
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))
        with torch.no_grad():
            self.weights[-1].mul_(a.last_scale)
            self.biases[-1].mul_(a.last_scale)
        normalised = {"none": (), "first": a.hidden[:1], "all": a.hidden}[a.layer_norm]
        sizes = [(width,) if linear else (count, 1, width) for width in normalised]
        self.gains = nn.ParameterList(torch.ones(size, device=rng.device) for size in sizes)
        self.offsets = nn.ParameterList(torch.zeros(size, device=rng.device) for size in sizes)
        self.precision: LearningPrecision = "float32"  # of products in the kernel
        self.compiled: CompiledMLP | None = None  # these weights in the kernel, see networks/learning.py
        self.input_mean: Tensor
        self.input_std: Tensor
        if a.normalise_inputs:
            self.register_buffer("input_mean", torch.zeros(inputs, device=rng.device))
            self.register_buffer("input_std", torch.ones(inputs, device=rng.device))

    def forward(self, x: Tensor, count: int | None = None) -> Tensor:
        """count: computes only the first `count` networks."""
        count = self.count if count is None else count
        if self.linear:
            return self.alone(x.squeeze(0) if x.ndim == 3 else x).unsqueeze(0)
        if networks := compiled(self, x):
            return through(self, networks, self.normalised(x), count)
        return network(x.expand(count, *x.shape[-2:]), self.folded(None if count == self.count else slice(count)))

    def scalars(self, x: Tensor, count: int | None = None) -> Tensor:
        """The outputs (M, R) of networks with a single output."""
        if not self.linear and (networks := compiled(self, x)):
            return through(self, networks, self.normalised(x), count or self.count, flat=True)
        found: Tensor = self(x, count)
        return found.squeeze(-1)

    def alone(self, x: Tensor) -> Tensor:
        """(R, in) -> (R, out) of a single network with `linear` weights."""
        if networks := compiled(self, x):
            return through(self, networks, self.normalised(x), 1)[0]
        x = self.normalised(x)
        for weight, bias, activation in zip(self.weights, self.biases, self._activations(None), strict=True):
            x = functional.linear(x, weight, bias)
            if activation is not None:
                x = activation(x)
        return x

    def learning(self, x: Tensor) -> Tensor:
        """The outputs for inputs that are normalised already (M, R, in), as in training."""
        networks = compiled(self, x)
        return through(self, networks, x, self.count) if networks else network(x, self.layers())

    @contextmanager
    def computed_in(self, precision: LearningPrecision) -> Iterator[None]:
        before, self.precision = self.precision, precision
        try:
            yield
        finally:
            self.precision = before

    @property
    def engine(self) -> str:
        """The engine of the last call: `kernel` or `torch`."""
        return "torch" if self.compiled is None else "kernel"

    @property
    def lists(self) -> list[nn.ParameterList]:
        return [self.weights, self.biases, self.gains, self.offsets]

    @property
    def parts(self) -> list[nn.Parameter]:
        """All parameters: weights, biases, gains, offsets; each from the first layer to the last."""
        return [parameter for some in self.lists for parameter in some]

    def normalise(self, inputs: Tensor) -> None:
        """Sets the normalizer to the mean and spread of inputs (R, in), if the architecture has one."""
        if not self.architecture.normalise_inputs:
            return
        std, mean = torch.std_mean(inputs, 0, correction=0)
        self.input_mean.copy_(mean)
        self.input_std.copy_(torch.where(std < 1e-8, 1.0, std))  # an entry that never varies is not scaled

    def normalised(self, inputs: Tensor) -> Tensor:
        """Inputs (R, in), normalised for `layers`."""
        return (inputs - self.input_mean) / self.input_std if self.architecture.normalise_inputs else inputs

    def layers(self, members: Tensor | slice | None = None) -> Layers:
        """Every layer of all networks, or of k members (k,), for normalised inputs."""
        members = None if self.linear else members  # there is only one
        weights, biases = _some(self.weights, members), _some(self.biases, members)
        if self.linear:
            weights, biases = [weight.T.unsqueeze(0) for weight in weights], [bias[None, None] for bias in biases]
        return [Layer(*parts) for parts in zip(weights, biases, self._activations(members), strict=True)]

    def _activations(self, members: Tensor | slice | None) -> list[Function | None]:
        """The activation after each layer."""
        found: list[Function | None] = [*[self.activation] * len(self.architecture.hidden), None]
        if self.architecture.layer_norm != "none":
            after = tanh if self.architecture.layer_norm == "first" else self.activation
            both = list(zip(_some(self.gains, members), _some(self.offsets, members), strict=True))
            found[: len(both)] = [Normalised(gain, offset, after) for gain, offset in both]
        return found

    def folded(self, members: Tensor | slice | None = None) -> Layers:
        """The layers for raw inputs: the first layer includes the normalizer (x - mean) / std."""
        layers = self.layers(members)
        if not self.architecture.normalise_inputs:
            return layers
        return [folded(layers[0], self.input_mean, self.input_std), *layers[1:]]


def _some(parameters: nn.ParameterList, members: Tensor | slice | None) -> list[Tensor]:
    return list(parameters) if members is None else [parameter[members] for parameter in parameters]
