"""What an algorithm is: hyperparameters and rules, without state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Generator, Tensor

from elites.agents.nets import Nets
from elites.agents.pace import Pace
from elites.agents.replay import Replay, Schema, transitions
from elites.agents.units import Spaces
from elites.fields import Checked, Count

# the name of a module, its loss, and figures (scalars) that are to be reported
Loss = tuple[str, Tensor] | tuple[str, Tensor, Mapping[str, Tensor]]
Losses = Iterator[Loss]
OwnNets = Any  # the type that the algorithm's own `build` answers with, which each override names


@dataclass(frozen=True)
class Algorithm(Checked, ABC):
    """States are (R, S), actions (R, A) in the unit space `nets.spaces.action`; all that changes is in `nets`.

    `update` and `finish` are generators. Each loss that they yield descends its own module, and that alone, before
    their next line runs. So a loss is built after the last yield that moves a module which it passes through.
    """

    capacity: Count = field(default=1_000_000, kw_only=True)  # transitions
    pace: Pace = field(default=Pace(), kw_only=True)

    @abstractmethod
    def build(self, spaces: Spaces, rng: Generator) -> Nets:
        """The modules, each with its optimizer, and with a slow copy where one is wanted."""

    def schema(self, spaces: Spaces) -> Schema:
        """The columns of its replay."""
        return transitions(spaces.state_size, spaces.action_size)

    @abstractmethod
    def explore(self, nets: OwnNets, state: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Actions that collect data; with them, for a column `raw_action`, what they were before clipping."""

    @abstractmethod
    def exploit(self, nets: OwnNets, state: Tensor) -> Tensor:
        """The actions that are thought best."""

    @abstractmethod
    def update(self, nets: OwnNets, data: Replay, step: int) -> Losses:
        """One update, the `step`-th from 1 on. It samples for itself; its branches look at `step` alone."""

    def finishing(self, updates: int) -> int:
        """How many calls of `finish` are due when all data is there, after so many updates."""
        return 0

    def finish(self, nets: OwnNets, data: Replay, step: int) -> Losses:
        """The `step`-th of them."""
        raise NotImplementedError
