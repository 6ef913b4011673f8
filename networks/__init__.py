"""Batched networks, and the engines that compute them."""

from elites.networks.architecture import Architecture
from elites.networks.critics import Critics, Value
from elites.networks.heads import CategoricalHead, Deterministic, Head, NormalHead, head_for
from elites.networks.mlp import MLP
from elites.networks.policies import Policy
from elites.networks.targets import follow, slow_copy

__all__ = [
    "MLP",
    "Architecture",
    "CategoricalHead",
    "Critics",
    "Deterministic",
    "Head",
    "NormalHead",
    "Policy",
    "Value",
    "follow",
    "head_for",
    "slow_copy",
]
