"""The base of algorithms with the networks of a `Network`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator

from elites.agents.algorithm import Algorithm
from elites.agents.nets import Nets, Part
from elites.agents.network import Network, Normaliser
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, Fraction
from elites.networks.critics import Value
from elites.networks.engine import LearningPrecision
from elites.networks.heads import CategoricalHead, Head
from elites.networks.policies import Policy


@dataclass(frozen=True)
class Networked(Algorithm):
    """Hyperparameters of all these algorithms, and the parts that they build from them."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "width": "network.policy.hidden and network.value.hidden",
        "architecture": "network.policy and network.value",
        "critic_rate": "network.value_optimizer.rate",
        "policy_rate": "network.policy_optimizer.rate",
    }

    network: Network = Network()  # the networks and their optimizers: plain, mpo, awr or sac
    batch: Count = 128  # transitions of an update
    discount: Fraction = 0.99  # factor of the reward for every step
    learning: LearningPrecision = "bfloat16x3"  # number format of products on a processor with tiles; else float32

    @abstractmethod
    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        """The modules, without a normaliser."""

    def build(self, spaces: Spaces, rng: Generator) -> Nets:
        parts = self.parts(spaces, rng)
        if self.network.normalises:
            parts["normaliser"] = Part(Normaliser(spaces.state_size, rng.device), None)
        return Nets(spaces, rng, parts)

    def prepare(self, nets: Nets, data: Replay) -> None:
        """Normalises the networks' inputs by the first states of the run."""
        normaliser = nets.modules.get("normaliser")
        if not isinstance(normaliser, Normaliser):
            return
        seen, wanted = int(normaliser.count.item()), min(data.total, self.network.normalise_steps)
        new = min(data.total - seen, len(data))
        if seen < wanted and new:
            normaliser.take(data.column("state")[-new:])
            for module in (*nets.modules.values(), *nets.copies.values()):
                normaliser.into(module)

    def new_policy(self, spaces: Spaces, rng: Generator, head: Head | None = None, slow: bool = False) -> Part:
        space = spaces.world if isinstance(head, CategoricalHead) else spaces.box
        policy = Policy(spaces.state_size, space, self.network.policy, rng, head)
        policy.mlp.precision = self.learning
        return Part(policy, self.network.policy_optimizer, slow)

    def new_value(self, spaces: Spaces, rng: Generator) -> Part:
        value = Value(spaces.state_size, 1, self.network.value, rng)
        value.mlp.precision = self.learning
        return Part(value, self.network.value_optimizer)
