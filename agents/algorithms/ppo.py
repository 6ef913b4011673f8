"""PPO (Schulman et al. 2017): many steps of descent on one segment, near the policy that collected it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from elites.agents import batches
from elites.agents.algorithm import Losses
from elites.agents.algorithms.awr import ValuedPolicy
from elites.agents.algorithms.on_policy import OnPolicy, standardised
from elites.agents.nets import Part
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, NonNegative, Positive


class Penalty(nn.Module):
    """β of the KL penalty."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1, device=device), requires_grad=False)


class PPONets(ValuedPolicy):
    penalty: Penalty


@dataclass(frozen=True)
class PPO(OnPolicy):
    """near: `clip` cuts the ratio of densities (eq. 7). `kl` is a penalty with an adaptive coefficient (eq. 8)."""

    near: Literal["clip", "kl"] = "clip"
    epochs: Count = 10  # passes over a segment
    clip_range: Positive = 0.2  # ε of eq. 7
    kl_target: Positive = 0.01  # d_targ of eq. 8
    entropy: NonNegative = 0.0  # weight of the entropy in the policy's loss

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        return super().parts(spaces, rng) | {"penalty": Part(Penalty(rng.device), None)}

    def update(self, nets: PPONets, data: Replay, step: int) -> Losses:
        """Algorithm 1."""
        segment = self.segment(nets, data)
        with torch.no_grad():
            old = nets.policy.distribution(segment.state)
            density = old.log_density(segment.raw)
        for rows in batches.epochs(len(segment.state), self.batch, self.epochs, nets.rng):
            some = segment.rows(rows)
            new = nets.policy.distribution(some.state)
            advantage, ratio = standardised(some.advantage), (new.log_density(some.raw) - density[rows]).exp()
            kl = old.rows(rows).divergence(new).sum(-1).mean()
            clips = self.near == "clip"
            loss = self.clipped(advantage, ratio) if clips else nets.penalty.beta[0] * kl - (advantage * ratio).mean()
            yield "policy", loss - self.entropy * new.entropy().mean() if self.entropy else loss, {"kl": kl}
            yield self.value_loss(nets, some)
        if self.near == "kl":
            with torch.no_grad():
                kl = old.divergence(nets.policy.distribution(segment.state)).sum(-1).mean()
            nets.set("penalty", self.adapted(nets.penalty.beta, kl))

    def clipped(self, advantage: Tensor, ratio: Tensor) -> Tensor:
        """Eq. 7, negative."""
        near = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        return -torch.minimum(advantage * ratio, advantage * near).mean()

    def adapted(self, beta: Tensor, kl: Tensor) -> Tensor:
        """Sec. 4: β is halved if the KL is below d_targ / 1.5, and doubled if it is above 1.5 d_targ."""
        factor = torch.where(kl < self.kl_target / 1.5, 0.5, torch.where(kl > self.kl_target * 1.5, 2.0, 1.0))
        return beta * factor
