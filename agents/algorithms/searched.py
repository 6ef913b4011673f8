"""The base of algorithms that act by a search over their Q-function: πCEM (CGP, Simmons-Edler et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.agents.algorithms.q_learning import QLearning, QNets, smoothed
from elites.agents.nets import Nets, Part
from elites.agents.replay import Rows
from elites.agents.units import Spaces
from elites.fields import NonNegative
from elites.networks.critics import Critics
from elites.networks.engine import Precision
from elites.networks.fitting import fit
from elites.planners import CEM, Planner, TanhNormal

PI_CEM = CEM(samples=64, iterations=2, elites=6, alpha=1.0, spread=1.0, distribution=TanhNormal())


@dataclass(frozen=True)
class Searched(QLearning):
    """Any planner can search. It returns the best of all candidates; Algorithm 1 takes the best of the last iteration.

    sampling: the number format in which candidates are compared, if the processor has it and Q fits in it; else
    float32. Learning does not use it. `fastest` is bfloat16 on tiles, else float16, else bfloat16.
    """

    search: Planner = PI_CEM  # the search over Q, for every action and every target
    sampling: Precision = "fastest"
    policy_noise: NonNegative = 0.2  # spread of the noise on the targets' actions, in half widths of the box
    noise_clip: NonNegative = 0.5  # bound of this noise

    def searchable_critics(self, spaces: Spaces, rng: Generator) -> Part:
        """New critics. A planner that cannot search this space raises here."""
        critics, elsewhere = self.new_critics(spaces, rng), QNets(spaces, Generator(rng.device), {})
        assert isinstance(critics.module, Critics)
        self.best(critics.module, elsewhere, torch.zeros(1, spaces.state_size, device=rng.device))
        return critics

    @torch.no_grad()
    def best(self, critics: Critics, nets: Nets, state: Tensor) -> Tensor:
        """πCEM(s) over Q_1 (Algorithm 1): (R, S) -> (R, A), all states at once."""
        objective = critics.at(state, self.sampling)
        return self.search.plan(objective, nets.spaces.action, batch=(len(state),), rng=nets.rng).best

    def explore(self, nets: QNets, state: Tensor) -> Tensor:
        """The search's answer. CEM is random enough, so no noise is added (Table 2)."""
        return self.best(nets.critics, nets, state)

    def following(self, nets: QNets, batch: Rows) -> Tensor:
        """πCEM(s') over Q'_1: the action of the target (R, A), before its noise."""
        return self.best(nets.slow.critics, nets, batch.next_state)

    def critics_loss(self, nets: QNets, batch: Rows, following: Tensor) -> tuple[str, Tensor, dict[str, Tensor]]:
        """Algorithm 2's regression: towards r + γ min_j Q'_j(s', ã), with ã from πCEM over Q'_1, and TD3's noise."""
        with torch.no_grad():
            next_action = smoothed(following, nets, self.policy_noise, self.noise_clip)
            target = self.target(nets, batch, next_action)
        return "critics", *fit(nets.critics, batch.state, batch.action, target)
