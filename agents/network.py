"""The networks of an agent with their optimizers, as one value that can be swapped whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from elites import config
from elites.agents.nets import Optimizer
from elites.fields import Checked, Count
from elites.networks.architecture import Architecture
from elites.networks.mlp import MLP

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Network(Checked):
    """The architectures and optimizers of an agent's policy, and of its Q-functions or value function."""

    policy: Architecture = Architecture((256, 256))
    value: Architecture = Architecture((256, 256))  # of the Q-functions or the value function
    policy_optimizer: Optimizer = Optimizer(1e-3)
    value_optimizer: Optimizer = Optimizer(1e-3)
    normalise_steps: Count = field(default=300_000, kw_only=True)  # first states that make the normaliser, if any

    @classmethod
    def of(cls, architecture: Architecture, rate: float = 1e-3) -> Self:
        """One architecture and one learning rate for all."""
        return cls(architecture, architecture, Optimizer(rate), Optimizer(rate))

    @property
    def normalises(self) -> bool:
        """Whether a network normalises its inputs."""
        return self.policy.normalise_inputs or self.value.normalise_inputs


@dataclass(frozen=True)
class MPONetwork(Network):
    """MPO's networks (Furuta et al. 2021, Table 4).

    Table 4 prints an initial output scale of 1 for the policy, with which the first actions lie outside the box. The
    published code begins at about 0, as here.
    """

    policy: Architecture = Architecture((256, 256, 256), "elu", "first", "variance_scaling", last_scale=0.01)
    value: Architecture = Architecture((512, 512, 256), "elu", "first", "variance_scaling")
    policy_optimizer: Optimizer = Optimizer(1e-4, clip=40.0)
    value_optimizer: Optimizer = Optimizer(1e-4, clip=80.0)  # the code's 40 is for half the squared error


@dataclass(frozen=True)
class AWRNetwork(Network):
    """AWR's networks (Furuta et al. 2021, Table 4). Its output scale is 0.01, as in both published codes."""

    policy: Architecture = Architecture((128, 64), "relu", "none", "xavier", last_scale=0.01, normalise_inputs=True)
    value: Architecture = Architecture((128, 64), "relu", "none", "xavier", normalise_inputs=True)
    policy_optimizer: Optimizer = Optimizer(5e-5, "sgd", momentum=0.9)
    value_optimizer: Optimizer = Optimizer(1e-2, "sgd", momentum=0.9)


@dataclass(frozen=True)
class SACNetwork(Network):
    """SAC's networks (Furuta et al. 2021, Table 4). The agent `sac` itself begins with PyTorch's own weights."""

    policy: Architecture = Architecture((256, 256), "relu", "none", "xavier", last_scale=0.01)
    value: Architecture = Architecture((256, 256), "relu", "none", "xavier")
    policy_optimizer: Optimizer = Optimizer(3e-4)
    value_optimizer: Optimizer = Optimizer(3e-4)


NETWORKS: dict[str, type] = {"plain": Network, "mpo": MPONetwork, "awr": AWRNetwork, "sac": SACNetwork}

config.choices(Network, NETWORKS)


class Normaliser(nn.Module):
    """The mean and spread of the states so far, for networks that normalise their inputs."""

    def __init__(self, size: int, device: torch.device) -> None:
        super().__init__()
        self.count: Tensor
        self.mean: Tensor
        self.square: Tensor
        self.register_buffer("count", torch.zeros((), dtype=torch.float64, device=device))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64, device=device))
        self.register_buffer("square", torch.ones(size, dtype=torch.float64, device=device))  # the mean of x²

    def take(self, states: Tensor) -> None:
        """Adds states (R, S)."""
        new, self.count = len(states), self.count + len(states)
        share, x = new / self.count, states.double()
        self.mean.lerp_(x.mean(0), share)
        self.square.lerp_(x.square().mean(0), share)

    def into(self, module: nn.Module) -> None:
        """Sets the normalisers of all networks in a module. Inputs after the states, such as actions, stay."""
        std = (self.square - self.mean.square()).clamp_min(0).sqrt().clamp_min(0.01)  # 0.01 as in AWR's code
        for mlp in module.modules():
            if isinstance(mlp, MLP) and mlp.architecture.normalise_inputs:
                mlp.input_mean[: len(std)] = self.mean
                mlp.input_std[: len(std)] = std
