"""The weights after training: averaged over its steps, and the best of each member."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from elites.dynamics.ensemble import ProbabilisticEnsemble
from elites.networks.descent import Following


class Average:
    """A model whose weights are the running average of another model's. Early steps count less."""

    def __init__(self, of: ProbabilisticEnsemble, share: float) -> None:
        self.of, self.share, self.steps = of, share, 0
        self.model = copy.deepcopy(of)
        self._following = Following(list(self.model.parameters()), list(of.parameters()))

    @torch.no_grad()
    def follow(self) -> None:
        self.steps += 1
        kept = min(self.share, (self.steps + 1) / (self.steps + 10))
        self._following.step(1 - kept)


class Best:
    """Every member's best weights so far by validation loss (M,), the first ones included."""

    def __init__(self, model: ProbabilisticEnsemble, loss: Tensor) -> None:
        self.parameters, self.loss = list(model.parameters()), loss  # each (M, …)
        self.best_weights = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def improved(self, loss: Tensor) -> bool:
        """Stores the weights of members that improved. Whether any did."""
        better = loss < self.loss
        self.loss = torch.where(better, loss, self.loss)
        for best, parameter in zip(self.best_weights, self.parameters, strict=True):
            best[better] = parameter[better]
        return bool(better.any())

    @torch.no_grad()
    def restore(self, model: ProbabilisticEnsemble) -> None:
        for best, parameter in zip(self.best_weights, model.parameters(), strict=True):
            parameter.copy_(best)
