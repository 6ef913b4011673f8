"""The architecture of networks, as a value for YAML and `--set`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elites.fields import Checked, Count, Positive

Activation = Literal["relu", "leaky_relu", "elu", "silu", "tanh"]


@dataclass(frozen=True)
class Architecture(Checked):
    """The hidden layers of a network, and the initial values of its weights.

    layer_norm: `first` is Linear → LayerNorm → tanh in the first hidden layer, as in MPO's networks. `all` is
    Linear → LayerNorm → activation in every hidden layer. initialisation: `uniform` is PyTorch's own, U(±1/√in) for
    weights and biases. All others start with biases of 0. `truncated_normal` has a spread of 1/(2√in) and is cut at two
    spreads (PETS). `xavier` is U(±√(6/(in + out))). `variance_scaling` is U(±√(1/out)) (MPO). `orthogonal` has
    a gain of √2, and of 1 in the last layer (PPO). last_scale: a factor on
    the last layer's weights. normalise_inputs: the networks get (x - mean) / std, with the mean and std of their data.
    """

    hidden: tuple[Count, ...] = (256, 256)  # widths of the hidden layers
    activation: Activation = "relu"  # the activation after every hidden layer
    layer_norm: Literal["none", "first", "all"] = "none"
    initialisation: Literal["uniform", "truncated_normal", "xavier", "variance_scaling", "orthogonal"] = "uniform"
    last_scale: Positive = 1.0
    normalise_inputs: bool = False
