"""The learner of an algorithm: its networks, its replay, its pace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from elites.agents.algorithm import Algorithm, Losses
from elites.agents.algorithms.q_learning import QLearning
from elites.agents.graphed import GraphedUpdates
from elites.agents.learner import Array, Learner, State, Transition, restore
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.networks.mlp import MLP


class Agent(Learner):
    """Acts, and learns from its `replay` by an algorithm."""

    def __init__(
        self, algorithm: Algorithm, state_size: int, space: object, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        """space: the space of one action, a Gymnasium space or an `elites.Space`."""
        self.algorithm = algorithm
        self.spaces = Spaces.of(state_size, space, device)
        self.rng = Generator(device).manual_seed(seed)
        self.nets = algorithm.build(self.spaces, self.rng)
        self.replay = Replay(algorithm.schema(self.spaces), algorithm.capacity, device)
        self.steps = 0  # steps of learning
        self.updates, self.finished = 0, 0  # calls of the algorithm's `update` and `finish`
        self._tally = Tally()
        self._graphed = self._new_graphs()
        self._columns: Mapping[str, Tensor] | None = None  # (N, *E): of the last actions, if the agent chose them

    def begin(self, which: Array) -> None:
        for where in np.flatnonzero(which):
            self.replay.begin(int(where))

    @torch.no_grad()
    def act(self, observation: Array, explore: bool = True) -> Array:
        """(S) -> (A), or (N, S) -> (N, A). Until `finish` has run, every action explores."""
        state = np.array(observation, np.float32)  # ten times as fast as the conversion by torch
        states = torch.from_numpy(state.reshape(-1, state.shape[-1])).to(self.rng.device)
        if explore or self.unfinished:
            found = self.algorithm.explore(self.nets, states)
            action, columns = found if isinstance(found, tuple) else (found, {})
            self._columns = columns if explore else self._columns
        else:
            action = self.algorithm.exploit(self.nets, states)
        taken = self.spaces.to_env(action)
        return taken if state.ndim > 1 else taken[0]

    def act_at_random(self, count: int) -> Array:
        self._columns = None
        return self.spaces.to_env(self.spaces.action.uniform(count, self.rng))

    def observe(self, step: Transition) -> None:
        action = self.spaces.from_env(step.action)
        rows: dict[str, Array | Tensor] = {
            "state": step.observation,
            "action": action,
            "reward": step.reward,
            "next_state": step.next_observation,
            "terminated": step.terminated,
            "truncated": step.truncated,
            "where": step.where,
        }
        if more := self.replay.schema.keys() - rows.keys():
            where = torch.as_tensor(step.where)
            chosen = None if self._columns is None else {name: self._columns[name][where] for name in more}
            rows |= chosen or {name: self.algorithm.columns(self.nets, action)[name] for name in more}
        self.replay.extend(rows)

    def improve(self, steps: int) -> None:
        pace = self.algorithm.pace
        if self.replay.total < pace.learning_starts:
            return
        self.steps += steps
        for _ in range(pace.owed(self.steps - steps, self.steps)):
            self.update()

    def _new_graphs(self) -> GraphedUpdates | None:
        if not self.algorithm.graphs:
            return None
        name, period, device = type(self.algorithm).__name__, self.algorithm.period, self.rng.device
        if period is None or not isinstance(self.algorithm, QLearning):
            raise ValueError(f"{name}.graphs: expected an agent whose updates have one shape, such as td3 or sac")
        if device.type != "cuda":
            raise ValueError(f"{name}.graphs: expected a CUDA device, got {device}")
        return self._recorder(period)

    def _recorder(self, period: int) -> GraphedUpdates:
        def update(data: Any, step: int) -> dict[str, Tensor]:
            return {
                name: value.detach() for name, value in self._descended(self.algorithm.update(self.nets, data, step))
            }

        return GraphedUpdates(update, period, self.rng)

    def update(self) -> None:
        step = self.updates + 1
        self.algorithm.prepare(self.nets, self.replay)
        if self._graphed is None:
            self._descend(self.algorithm.update(self.nets, self.replay, step))
        else:
            assert isinstance(self.algorithm, QLearning)
            for name, value in self._graphed(self.algorithm.sample(self.nets, self.replay), step).items():
                self._tally.add(name, value)
        self.updates = step

    def study(self, updates: int, pause: Callable[[str], None]) -> None:
        while self.updates < updates:
            self.update()
            if self.updates % 20 == 0:
                pause(f"learning from data  update {self.updates}/{updates}")

    @property
    def unfinished(self) -> bool:
        """Whether calls of the algorithm's `finish` are due: they learn when all data is there."""
        return self.finished < self.algorithm.finishing(self.updates)

    def finish(self, pause: Callable[[str], None] = lambda text: None) -> None:
        due = self.algorithm.finishing(self.updates)
        while self.finished < due and self.updates:
            text = self._descend(self.algorithm.finish(self.nets, self.replay, self.finished + 1))
            self.finished += 1
            if self.finished % 20 == 0:
                pause(f"training the {text()}  update {self.finished}/{due}")

    def _descend(self, losses: Losses) -> Callable[[], str]:
        """Descends every loss on its module before the next is built. Returns a function that words the last loss."""
        name, loss = "", torch.zeros(())
        for figure, value in self._descended(losses):
            self._tally.add(figure, value)
            if figure.endswith("_loss"):
                name, loss = figure.removesuffix("_loss"), value
        return lambda: f"{name}  loss {loss:.4f}"

    def _descended(self, losses: Losses) -> Iterator[tuple[str, Tensor]]:
        """The figures of an update, each loss after its descent."""
        for name, loss, *figures in losses:
            self.nets.descend(name, loss)
            yield f"{name}_loss", loss
            if figures:
                yield from figures[0].items()

    @property
    def engine(self) -> str:
        """The engine that last computed the networks: `kernel`, `torch`, or both."""
        met = {module.engine for of in self.nets.modules.values() for module in of.modules() if isinstance(module, MLP)}
        return " and ".join(sorted(met)) or "torch"

    def summary(self) -> dict[str, float | str]:
        return {"engine": self.engine}

    def figures(self) -> dict[str, float]:
        """The mean of every loss, and of every figure that the algorithm reports with it."""
        return self._tally.means()

    def non_finite(self) -> str | None:
        if name := self.nets.non_finite():
            return f"weights of the {name} that are not (a smaller learning rate may help)"
        return self.algorithm.fault(self.nets)

    def state_dict(self) -> State:
        counts = {"steps": self.steps, "updates": self.updates, "finished": self.finished}
        parts = {"nets": self.nets.state_dict(), "replay": self.replay.state_dict(), "tally": self._tally.state_dict()}
        return counts | parts | {"rng": self.rng.get_state()}

    def load_state_dict(self, state: State) -> None:
        self.nets.load_state_dict(state["nets"])
        self.replay.load_state_dict(state["replay"])
        self._tally.load_state_dict(state["tally"])
        restore(self.rng, state["rng"])
        self._graphed = self._new_graphs()  # the old ones point at the optimizers' old state
        self.steps, self.updates, self.finished = state["steps"], state["updates"], state["finished"]


class Tally:
    """Means of figures since the last call of `means`. Until this call, nothing waits for a GPU."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        mine = value.item() if value.device.type == "cpu" else value.detach()
        self._sums[name] = self._sums.get(name, 0.0) + mine
        self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        found = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return found

    def state_dict(self) -> State:
        return {"sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state: State) -> None:
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
