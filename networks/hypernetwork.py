"""A network that makes the weights of other networks from noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from elites.networks.architecture import Architecture
from elites.networks.mlp import MLP

ENCODER = Architecture((100, 150, 200), "relu", initialisation="orthogonal")  # it keeps the noise's scale
MAKER = Architecture((200,), "relu", initialisation="orthogonal")


class Hypernetwork(nn.Module):
    """Noise (M, Z) -> M points (M, D). An encoder of 4 layers, then a network for each block of weights.

    Tang et al. 2021 (CEM-AH), Fig. 2b. The first points have a mean of 0 and a spread of 1, as a search's have: from a
    narrow beginning an adversary finds one mode. sizes: of the blocks, whose sum is D.
    """

    def __init__(self, noise: int, sizes: Sequence[int], rng: Generator, width: int = 200) -> None:
        super().__init__()
        self.noise = noise
        self.encoder = MLP(ENCODER, noise, width, 1, rng, linear=True)
        self.makers = nn.ModuleList(MLP(MAKER, width, size, 1, rng, linear=True) for size in sizes if size)
        self._spread(rng)

    @torch.no_grad()
    def _spread(self, rng: Generator) -> None:
        """Scales the last layers, by the mean and spread of a thousand points."""
        code = torch.relu(self.encoder.alone(torch.randn(1000, self.noise, generator=rng)))
        for maker in self.makers:
            assert isinstance(maker, MLP)
            std, mean = torch.std_mean(maker.alone(code), 0)
            maker.weights[-1].div_(std.unsqueeze(-1))
            maker.biases[-1].sub_(mean).div_(std)

    def forward(self, noise: Tensor) -> Tensor:
        code = torch.relu(self.encoder.alone(noise))
        return torch.cat([maker.alone(code) for maker in self.makers], -1)  # type: ignore[operator]

    def drawn(self, count: int, rng: Generator) -> Tensor:
        """Points (count, D) from standard normal noise."""
        found: Tensor = self(torch.randn(count, self.noise, generator=rng))
        return found
