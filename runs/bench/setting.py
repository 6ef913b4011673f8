"""The planning problem, the same for all contenders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from elites.dynamics import EnsembleConfig, ProbabilisticEnsemble
from elites.dynamics.ensemble import PETS_NETWORKS
from elites.fields import Checked, Count

SIZES = ["4,1", "18,6", "20,7", "45,17"]  # the cart-pole, HalfCheetah, the Pusher, HumanoidStandup
WARM_UP = 3  # plans before the rounds: two to measure memory, and one without a measurement

State = dict[str, Tensor]  # the weights of a ProbabilisticEnsemble


@dataclass(frozen=True)
class Setting(Checked):
    """The setting of one table. observation, action: their sizes, S and A."""

    observation: Count
    action: Count
    members: Count = 5
    particles: Count = 20
    horizon: Count = 45
    rounds: Count = 15
    threads: Count = 1
    device: str = "cpu"


def plain(setting: Setting) -> EnsembleConfig:
    """Networks that all libraries have: without layer normalisation."""
    return EnsembleConfig(setting.members, PETS_NETWORKS)


def given(setting: Setting) -> tuple[State, Tensor]:
    """Weights with little noise, as after training, and a slow walk of observations (WARM_UP + rounds, S)."""
    rng, size = Generator().manual_seed(0), setting.observation
    model = ProbabilisticEnsemble(size, setting.action, plain(setting), rng=rng)
    model.mlp.biases[-1].data[..., size:] = -6.0  # a spread of 0.05
    walk = 0.02 * torch.randn(WARM_UP + setting.rounds, size, generator=rng).cumsum(0)
    return model.state_dict(), walk + 0.5 * torch.randn(size, generator=rng)


def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Rows -> (R,)."""
    return -next_state.square().sum(1) - 0.01 * action.square().sum(1)


Work = Counter[tuple[int, bool]]  # the rollouts of a plan: (rows, with a gradient?) -> how often
Planning = Callable[[Tensor], Work]  # from an observation (S), with a warm start from the last plan


@dataclass
class Accounted:
    """Planning whose memory torch does not allocate: its own account, in bytes."""

    plan: Planning
    held: int
    peak: int

    def __call__(self, observation: Tensor) -> Work:
        return self.plan(observation)


class Contender(NamedTuple):
    planner: str  # a name in PLANS
    by: str  # a name in VARIANTS or PEERS
    noise: str = "independent"  # for every candidate, or `common` to all


def ensemble(setting: Setting, state: State, **options: Any) -> ProbabilisticEnsemble:
    known = replace(plain(setting), **options)
    model = ProbabilisticEnsemble(setting.observation, setting.action, known, rng=Generator(setting.device))
    model.load_state_dict(state)
    return model.requires_grad_(False)
