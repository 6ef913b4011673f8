"""The base class of algorithms: hyperparameters and rules, without state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Generator, Tensor

from elites.agents.nets import Nets
from elites.agents.pace import Pace
from elites.agents.replay import Replay, Schema, transitions
from elites.agents.units import Spaces
from elites.fields import Checked, Count

# the name of a module, its loss, and figures (scalars) to report
Loss = tuple[str, Tensor] | tuple[str, Tensor, Mapping[str, Tensor]]
Losses = Iterator[Loss]
OwnNets = Any  # the return type of the algorithm's own `build`; each override names it


@dataclass(frozen=True)
class Algorithm(Checked, ABC):
    """States are (R, S), actions are (R, A) in the unit space `nets.spaces.action`. `nets` holds all that changes.

    `update` and `finish` are generators. Each loss that they yield descends only its own module, before their next
    line runs. So they must build a loss after the yields of the modules that it passes through.
    """

    random_steps: ClassVar[int] = 10_000  # first steps of a run with random actions, if its settings do not say
    on_policy: ClassVar[bool] = False  # whether it uses every transition once, and no other data
    by_episode: ClassVar[bool] = False  # whether it needs whole episodes

    capacity: Count = field(default=1_000_000, kw_only=True)  # transitions in the replay
    pace: Pace = field(default=Pace(), kw_only=True)
    graphs: bool = field(default=False, kw_only=True)  # on a GPU, record an update as a CUDA graph and replay it

    @property
    def period(self) -> int | None:
        """Updates whose numbers differ by a multiple of this differ in their minibatch alone, which they sample once.

        None: there is no such number, and an update cannot be recorded as a CUDA graph.
        """
        return None

    @abstractmethod
    def build(self, spaces: Spaces, rng: Generator) -> Nets:
        """The modules, each with its optimizer, and a slow copy if needed."""

    def schema(self, spaces: Spaces) -> Schema:
        """The columns of the replay."""
        return transitions(spaces.state_size, spaces.action_size)

    @abstractmethod
    def explore(self, nets: OwnNets, state: Tensor) -> Tensor | tuple[Tensor, Mapping[str, Tensor]]:
        """Actions that collect data, and the rows of more columns: `raw_action` is the action before clipping."""

    def columns(self, nets: OwnNets, action: Tensor) -> Mapping[str, Tensor]:
        """The rows of more columns for actions that did not come from `explore`."""
        return {"raw_action": action}

    @abstractmethod
    def exploit(self, nets: OwnNets, state: Tensor) -> Tensor:
        """The best actions so far."""

    def prepare(self, nets: OwnNets, data: Replay) -> None:
        """Runs before every update."""

    @abstractmethod
    def update(self, nets: OwnNets, data: Replay, step: int) -> Losses:
        """Update number `step`, from 1 on. It samples its own data. Its branches depend on `step` alone."""

    def fault(self, nets: OwnNets) -> str | None:
        """Finite values that have gone wrong all the same, in words."""
        return None

    def finishing(self, updates: int) -> int:
        """The number of calls of `finish` after all data is collected. updates: the number of updates so far."""
        return 0

    def finish(self, nets: OwnNets, data: Replay, step: int) -> Losses:
        """Update number `step` of these calls, from 1 on."""
        raise NotImplementedError
