"""The replay buffer: transitions in named columns, and their episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from elites.agents.learner import Array, State
from elites.fields import Count, check
from elites.networks.gather import Columns

Schema = Mapping[str, tuple[int, ...]]  # {column of numbers: shape (*E) of an entry}
ENDS = ("terminated", "truncated")  # bool columns (n,) of every replay
PLACES = ("where", "time")  # integer columns (n,): the environment, and the step in its episode


def transitions(state_size: int, action_size: int, raw: bool = False) -> Schema:
    """The columns of transitions. raw: adds actions before clipping or squashing; `action` is the executed one."""
    schema: Schema = {"state": (state_size,), "action": (action_size,), "reward": (), "next_state": (state_size,)}
    return {**schema, "raw_action": (action_size,)} if raw else schema


@dataclass(frozen=True, eq=False)
class Grown:
    """Rows that only grow at their end, so checkpoints write each row once."""

    columns: Mapping[str, Tensor]  # (n, *E) each, oldest first
    first: int  # the oldest row's number since the run's beginning; the rows are first … first + n - 1


class Rows:
    """Columns by name, (R, *E) each. A schema can add more columns."""

    state: Tensor
    action: Tensor
    raw_action: Tensor
    reward: Tensor
    next_state: Tensor
    terminated: Tensor
    truncated: Tensor
    log_density: Tensor
    discount: Tensor

    def __init__(self, columns: Mapping[str, Tensor]) -> None:
        vars(self).update(columns)


class Episode(Rows):
    """The stored part of one episode, (T, *E) a column, in the order of time. Contiguous columns are views."""

    begins: bool  # whether its first transition is stored; the ring can have dropped it
    ends: bool  # whether its last transition is stored; else it is running or was given up

    def __init__(self, columns: Mapping[str, Tensor], begins: bool, ends: bool) -> None:
        super().__init__(columns)
        self.begins, self.ends, self.length = begins, ends, len(columns["terminated"])


class Segments(Rows):
    """Stretches of episodes (R, L, *E), in the order of time. within (R, L): which transitions there are."""

    def __init__(self, columns: Mapping[str, Tensor], within: Tensor) -> None:
        super().__init__(columns)
        self.columns, self.within = columns, within

    def ahead(self, discount: float) -> Rows:
        """The first transitions (R, *E), with the rewards and the next state of the whole stretch (n-step returns).

        It adds a column: `discount` (R), the factor of the value of the next state.
        """
        length = self.within.shape[1]
        powers = discount ** torch.arange(length, dtype=self.reward.dtype, device=self.reward.device)
        count = self.within.sum(1)
        last = (torch.arange(len(count), device=count.device), count - 1)
        columns = {name: self.columns[name][last] for name in ("next_state", *ENDS)}
        columns["reward"] = (self.reward * powers * self.within).sum(1)
        return Rows(vars(self.first) | columns | {"discount": discount ** count.to(powers.dtype)})

    @property
    def first(self) -> Rows:
        """The first transitions (R, *E)."""
        return Rows({name: column[:, 0] for name, column in self.columns.items()})


class Replay:
    """Transitions in the order of collection. When `capacity` is reached, new rows replace the oldest."""

    def __init__(self, schema: Schema, capacity: int = 1_000_000, device: torch.device | str = "cpu") -> None:
        check("Replay.capacity", capacity, Count)
        self.schema, self.capacity, self.device = schema, capacity, torch.device(device)
        columns = {name: torch.empty(0, *shape, device=device) for name, shape in schema.items()}
        columns |= {name: torch.empty(0, dtype=torch.bool, device=device) for name in ENDS}
        self._hold(columns | {name: torch.empty(0, dtype=torch.int32, device=device) for name in PLACES})
        self.total = 0  # number of rows ever added
        self._first = 0  # the number of the oldest stored row; rows are numbered in the order of collection
        self._origin = 0  # row k is at place (k - origin) modulo capacity
        self._ages: dict[int, int] = {}  # steps of the running episode in each environment
        self._environments = 1  # the largest index of an environment so far, plus 1

    def _hold(self, columns: dict[str, Tensor]) -> None:
        """Stores these columns. On a CPU, rows are written through NumPy, which is ten times as fast."""
        self._columns, on_cpu = columns, self.device.type == "cpu"
        self._written: dict[str, Any] = {name: x.numpy() if on_cpu else x for name, x in columns.items()}
        self._sampled = Columns({name: x for name, x in columns.items() if name not in PLACES})

    def __getstate__(self) -> State:
        return {name: value for name, value in vars(self).items() if name not in ("_written", "_sampled")}

    def __setstate__(self, state: State) -> None:
        vars(self).update(state)
        self._hold(self._columns)

    def __len__(self) -> int:
        return self.total - self._first

    def begin(self, where: int) -> None:
        """Begins a new episode in this environment, even if the last one has not ended."""
        self._ages.pop(where, None)

    def extend(self, rows: Mapping[str, Array | Tensor]) -> None:
        """Adds n rows: (n, *E) for every column, and in `where` (n,) the index of the environment."""
        values = {name: self._checked(name, rows) for name in self._columns if name != "time"}
        ended = (values["terminated"] | values["truncated"]).tolist()
        times = []
        for where, end in zip(values["where"].tolist(), ended, strict=True):
            times.append(self._ages.get(where, 0))
            self._ages[where] = 0 if end else times[-1] + 1
            self._environments = max(self._environments, where + 1)
        values["time"] = self._as_written("time", times)
        count = len(times)
        if count > self.capacity:  # only the last rows fit
            values = {name: value[count - self.capacity :] for name, value in values.items()}
            self.total += count - self.capacity
            count = self.capacity
        place = (self.total - self._origin) % self.capacity
        self._make_room(min(place + count, self.capacity))
        fits = min(count, self.capacity - place)
        for name, value in values.items():
            self._written[name][place : place + fits] = value[:fits]
            if fits < count:
                self._written[name][: count - fits] = value[fits:]
        self.total += count
        self._first = max(self._first, self.total - self.capacity)

    def _as_written(self, name: str, values: Any) -> Any:
        like = self._written[name]
        return torch.as_tensor(values, dtype=like.dtype) if isinstance(like, Tensor) else np.asarray(values, like.dtype)

    def _checked(self, name: str, rows: Mapping[str, Array | Tensor]) -> Any:
        column, value = self._written[name], self._as_written(name, rows[name])
        if value.shape[1:] != column.shape[1:] or len(value) != len(rows["where"]):
            expected = (len(rows["where"]), *column.shape[1:])
            raise ValueError(f"Replay: expected {name} of shape {expected}, got {tuple(value.shape)}")
        return value

    def _make_room(self, wanted: int) -> None:
        """Doubles the memory when needed, so that an unfilled replay stays small."""
        room = len(self._columns["time"])
        if room < wanted:
            more = min(max(room, wanted - room, 1024), self.capacity - room)
            self._hold(
                {
                    name: torch.cat([column, column.new_empty(more, *column.shape[1:])])
                    for name, column in self._columns.items()
                }
            )

    def drop(self) -> None:
        """Drops all rows, for an algorithm that learns from each row once."""
        self._first = self._origin = self.total

    def sample(self, rows: int, rng: Generator) -> Rows:
        """Random transitions (rows, *E), with replacement."""
        self._require_rows()
        index = torch.randint(len(self), (rows,), generator=rng, device=self.device)
        return Rows(self._sampled.rows(index))

    def segments(self, rows: int, length: int, rng: Generator) -> Segments:
        """Random transitions and those that follow them in their episodes: (rows, length, *E), with replacement."""
        self._require_rows()
        number = torch.randint(len(self), (rows,), generator=rng, device=self.device)  # from the oldest row on
        numbers, within = [number], [torch.ones(rows, dtype=torch.bool, device=self.device)]
        for _ in range(length - 1):
            number, found = self._following(number)
            numbers.append(number)
            within.append(within[-1] & found)
        places = (torch.stack(numbers, 1) + (self._first - self._origin)) % self.capacity
        columns = {name: column[places] for name, column in self._columns.items() if name not in PLACES}
        return Segments(columns, torch.stack(within, 1))

    def _following(self, number: Tensor) -> tuple[Tensor, Tensor]:
        """The next transitions of these rows' episodes, and whether they are stored; if not, the rows themselves.

        All environments step together, so the next one is at most two steps of all of them away.
        """
        others = torch.arange(1, 2 * self._environments, device=self.device)
        candidates = number.unsqueeze(1) + others  # (R, C)
        stored = candidates < len(self)
        shift = self._first - self._origin
        here, there = (number + shift) % self.capacity, (candidates + shift) % self.capacity
        where, time = self._columns["where"], self._columns["time"]
        follows = (where[there] == where[here].unsqueeze(1)) & (time[there] == time[here].unsqueeze(1) + 1) & stored
        first = candidates.gather(1, follows.int().argmax(1, keepdim=True)).squeeze(1)
        found = follows.any(1)
        return torch.where(found, first, number), found

    def all(self) -> Rows:
        """All rows (n, *E), oldest first."""
        return Rows({name: self.column(name) for name in self._columns})

    def column(self, name: str) -> Tensor:
        """A column (n, *E), oldest first. It is a view unless the ring has wrapped."""
        self._require_rows()
        return self._ordered(name)

    def episodes(self) -> list[Episode]:
        """All episodes with stored rows, in the order of their first stored rows."""
        if not len(self):
            return []
        where, time = self._ordered("where"), self._ordered("time")
        order = where.sort(stable=True).indices  # grouped by environment, in the order of time
        begins = time[order] == 0
        fresh = begins.clone()
        fresh[0] = True
        fresh[1:] |= where[order].diff() != 0
        starts = fresh.nonzero().squeeze(1)
        lengths = torch.cat([starts, starts.new_tensor([len(order)])]).diff().tolist()
        pieces = zip(torch.split(order, lengths), begins[starts].tolist(), strict=True)
        return [self._episode(rows, begun) for rows, begun in sorted(pieces, key=lambda piece: int(piece[0][0]))]

    def _episode(self, rows: Tensor, begins: bool) -> Episode:
        """The episode of these rows (T,), counted from the oldest row."""
        places = (rows + (self._first - self._origin)) % self.capacity
        first, last = int(places[0]), int(places[-1])
        chosen = slice(first, last + 1) if last - first == len(rows) - 1 else places
        columns = {name: column[chosen] for name, column in self._columns.items() if name not in PLACES}
        return Episode(columns, begins, bool(columns["terminated"][-1] | columns["truncated"][-1]))

    def _ordered(self, name: str) -> Tensor:
        place = (self._first - self._origin) % self.capacity
        if place + len(self) <= self.capacity:
            return self._columns[name][place : place + len(self)]
        return self._columns[name].roll(-place, 0)

    def _require_rows(self) -> None:
        if not len(self):
            raise ValueError("Replay: expected transitions, found none")

    def state_dict(self) -> State:
        rows = Grown({name: self._ordered(name) for name in self._columns}, self._first)
        return {"rows": rows, "origin": self._origin, "ages": [list(pair) for pair in self._ages.items()]}

    def load_state_dict(self, state: State) -> None:
        rows: Grown = state["rows"]
        if rows.columns.keys() != self._columns.keys():
            raise RuntimeError(f"expected columns {', '.join(self._columns)}, found {', '.join(rows.columns)}")
        held = min(len(rows.columns["time"]), self.capacity)
        self.total = rows.first + len(rows.columns["time"])
        self._first = self.total - held
        self._origin = state["origin"] if held == self.capacity else self._first
        self._ages = dict(state["ages"])
        place = (self._first - self._origin) % self.capacity
        columns = {name: column[len(column) - held :].to(self.device) for name, column in rows.columns.items()}
        self._hold({name: column.roll(place, 0) for name, column in columns.items()})
        self._environments = 1 + int(columns["where"].max()) if held else 1
