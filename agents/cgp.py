"""CGP and its kin: Q-learning by the cross-entropy method, and a policy network that learns from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from elites.agents.off_policy import Algorithm, Batch, Learned
from elites.agents.td3 import climbing, smoothed
from elites.fields import NonNegative
from elites.networks.critics import Critics
from elites.networks.engine import Precision
from elites.networks.policies import Policy
from elites.planners import CEM, Planner, TanhNormal
from elites.spaces import Box

PI_CEM = CEM(samples=64, iterations=2, elites=6, alpha=1.0, spread=1.0, distribution=TanhNormal())


@dataclass(frozen=True)
class QCEM(Algorithm):
    """Q-learning whose policy is a search over Q itself: πCEM (Algorithm 1), as in Qt-Opt; it has no policy network.

    The search answers with the best of all candidates, where the paper's takes the best of the last iteration's. The
    target is TD3's, noise included. Any planner may search. sampling: the numbers in which candidates are compared,
    where the processor computes in them and Q fits in them, else float32; nothing is learned in them. The fastest are
    float16, else bfloat16.
    """

    search: Planner = PI_CEM
    sampling: Precision = "fastest"
    policy_noise: NonNegative = 0.2
    noise_clip: NonNegative = 0.5

    def policy(self, state_size: int, box: Box, rng: Generator) -> Policy | None:
        return None

    def explore(self, learned: Learned, state: Tensor) -> Tensor:
        """CEM is random enough: no noise is added (Table 2)."""
        return self.searched(learned.critics, learned, state)

    def exploit(self, learned: Learned, state: Tensor) -> Tensor:
        return self.searched(learned.critics, learned, state)

    def next_value(self, learned: Learned, state: Tensor) -> Tensor:
        """min_j Q'_j(s', ã) with ã from πCEM over Q'_1 (Algorithm 2)."""
        action = self.searched(learned.slow_critics, learned, state)
        return learned.slow_critics.values(state, smoothed(action, learned, self.policy_noise, self.noise_clip)).amin(0)

    def policy_loss(self, learned: Learned, batch: Batch) -> Tensor:
        raise NotImplementedError("there is no policy to learn")

    @torch.no_grad()
    def searched(self, critics: Critics, learned: Learned, state: Tensor) -> Tensor:
        """πCEM(s): (R, S) -> (R, A), all states at once."""
        objective = critics.at(state, self.sampling)
        return self.search.plan(objective, learned.cube, batch=(len(state),), rng=learned.rng).best


@dataclass(frozen=True)
class CGP(QCEM):
    """The policy imitates πCEM (Algorithm 2): ‖π(s) - πCEM(s)‖². Data and targets stay πCEM's; π is for inference.

    mode: `online`, the policy learns along with Q; `offline`, after it.
    """

    mode: Literal["online", "offline"] = "online"

    @property
    def policy_waits(self) -> bool:
        return self.mode == "offline"

    def policy(self, state_size: int, box: Box, rng: Generator) -> Policy:
        return Policy(state_size, box, self.architecture, rng)

    def exploit(self, learned: Learned, state: Tensor) -> Tensor:
        return Algorithm.exploit(self, learned, state)

    def policy_loss(self, learned: Learned, batch: Batch) -> Tensor:
        state = batch["state"]
        distance: Tensor = learned.policy.action(state) - self.searched(learned.critics, learned, state)
        return distance.square().sum(-1).mean()


@dataclass(frozen=True)
class QGP(CGP):
    """The policy climbs Q instead: -Q_1(s, π(s)), as in DDPG (sec. 4.2.1)."""

    def policy_loss(self, learned: Learned, batch: Batch) -> Tensor:
        return climbing(learned, batch["state"])
