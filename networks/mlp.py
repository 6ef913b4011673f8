"""M networks of one architecture: dynamics ensembles, critics, policies."""

from __future__ import annotations

import itertools

import torch
from torch import Generator, Tensor, nn

from elites.networks.architecture import Architecture
from elites.networks.initialisation import initialise
from elites.networks.layers import ACTIVATIONS, Function, Layer, Layers, Normalised, network, tanh


class MLP(nn.Module):
    """(M, R, in) -> (M, R, out), or (R, in) where all see the same. All randomness of the weights is from `rng`.

    Weights are (M, in, out). linear: those of a single network lie as nn.Linear's, (1, out, in).
    """

    def __init__(
        self, architecture: Architecture, inputs: int, outputs: int, count: int, rng: Generator, *, linear: bool = False
    ) -> None:
        super().__init__()
        if linear and count != 1:  # the gradient of several would lie in another order than they do
            raise ValueError(f"MLP.count: expected 1 where weights lie as nn.Linear's, got {count}")
        self.architecture, self.count, self.linear = architecture, count, linear
        a = architecture
        self.activation: Function = ACTIVATIONS[a.activation]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in itertools.pairwise([inputs, *a.hidden, outputs]):
            shape = (fan_out, fan_in) if linear else (fan_in, fan_out)
            weight, bias = (torch.empty(count, *size, device=rng.device) for size in (shape, (1, fan_out)))
            initialise(a.initialisation, weight, bias, fan_in, fan_out, rng)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))
        with torch.no_grad():
            self.weights[-1].mul_(a.last_scale)
            self.biases[-1].mul_(a.last_scale)
        normalised = {"none": (), "first": a.hidden[:1], "all": a.hidden}[a.layer_norm]
        self.gains = nn.ParameterList(torch.ones(count, 1, width, device=rng.device) for width in normalised)
        self.offsets = nn.ParameterList(torch.zeros(count, 1, width, device=rng.device) for width in normalised)
        self.input_mean: Tensor
        self.input_std: Tensor
        if a.normalise_inputs:
            self.register_buffer("input_mean", torch.zeros(inputs, device=rng.device))
            self.register_buffer("input_std", torch.ones(inputs, device=rng.device))

    def forward(self, x: Tensor) -> Tensor:
        return network(x.expand(self.count, *x.shape[-2:]), self.folded())

    def normalise(self, inputs: Tensor) -> None:
        """Takes the mean and spread of inputs (R, in) as the normalizer's, where the architecture has one."""
        if not self.architecture.normalise_inputs:
            return
        std, mean = torch.std_mean(inputs, 0, correction=0)
        self.input_mean.copy_(mean)
        self.input_std.copy_(torch.where(std < 1e-8, 1.0, std))  # what never varied is left as it is

    def normalised(self, inputs: Tensor) -> Tensor:
        """Inputs (R, in) as `layers` want them."""
        return (inputs - self.input_mean) / self.input_std if self.architecture.normalise_inputs else inputs

    def layers(self, members: Tensor | slice | None = None) -> Layers:
        """Every layer of all networks or of some (k,), for normalised inputs."""
        weights, biases = self._some(self.weights, members), self._some(self.biases, members)
        if self.linear:
            weights = [weight.mT for weight in weights]
        activations: list[Function | None] = [*[self.activation] * (len(weights) - 1), None]
        if self.architecture.layer_norm != "none":
            after = tanh if self.architecture.layer_norm == "first" else self.activation
            both = zip(self._some(self.gains, members), self._some(self.offsets, members), strict=True)
            activations[: len(self.gains)] = [Normalised(gain, offset, after) for gain, offset in both]
        return [Layer(*parts) for parts in zip(weights, biases, activations, strict=True)]

    def _some(self, parameters: nn.ParameterList, members: Tensor | slice | None) -> list[Tensor]:
        return list(parameters) if members is None else [parameter[members] for parameter in parameters]

    def folded(self, members: Tensor | slice | None = None) -> Layers:
        """The layers for inputs as they are, with the normalizer, (x - mean) / std, in the first."""
        layers = self.layers(members)
        if not self.architecture.normalise_inputs:
            return layers
        (weight, bias, activation), *others = layers
        weight = weight / self.input_std.unsqueeze(-1)
        return [Layer(weight, bias - (self.input_mean @ weight).unsqueeze(1), activation), *others]
