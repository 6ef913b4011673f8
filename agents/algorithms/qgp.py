"""QGP: CGP's Q-function, and a policy network that climbs it (Simmons-Edler et al. 2019, sec. 4.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from elites.agents.algorithms.cgp import CGP
from elites.agents.algorithms.q_learning import ActorCritic, climbing_head
from elites.agents.nets import Part
from elites.agents.replay import Rows
from elites.agents.units import Spaces
from elites.networks.climbing import climb


@dataclass(frozen=True)
class QGP(CGP):
    """CGP with a policy that climbs Q, instead of a policy that imitates the search."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.search_for != "policy":
            raise ValueError(
                f"QGP.search_for: expected 'policy', as its policy imitates no search, got {self.search_for!r}"
            )

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        climbing_head(spaces)
        return super().parts(spaces, rng)

    def policy_loss(self, nets: ActorCritic, batch: Rows, following: Tensor | None = None) -> Tensor:
        """-Q_1(s, π(s)), as in DDPG."""
        return climb(nets.policy, nets.critics, batch.state)
