"""The replay buffer: transitions by named columns, and the episodes that they make."""

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
ENDS = ("terminated", "truncated")  # columns (n,) of truth values that every replay has
PLACES = ("where", "time")  # and of integers: the environment, and the number of the step in its episode


def transitions(state_size: int, action_size: int, raw: bool = False) -> Schema:
    """raw: with the actions before they were clipped or squashed; `action` is always the one that was executed."""
    schema: Schema = {"state": (state_size,), "action": (action_size,), "reward": (), "next_state": (state_size,)}
    return {**schema, "raw_action": (action_size,)} if raw else schema


@dataclass(frozen=True, eq=False)
class Grown:
    """Rows that only grow at their end: a checkpoint writes each once."""

    columns: Mapping[str, Tensor]  # (n, *E) each, the oldest first
    first: int  # the oldest row's number, counted from the run's beginning; the rows are first … first + n - 1


class Rows:
    """Columns by name, (R, *E) each. Those that a schema has stand beside these."""

    state: Tensor
    action: Tensor
    raw_action: Tensor
    reward: Tensor
    next_state: Tensor
    terminated: Tensor
    truncated: Tensor

    def __init__(self, columns: Mapping[str, Tensor]) -> None:
        vars(self).update(columns)


class Episode(Rows):
    """What is held of one episode, (T, *E) a column, in the order of time. Columns that lie together are views."""

    begins: bool  # its first transition is held; the ring may have let go of it
    ends: bool  # its last transition is held: else it is under way, or was given up

    def __init__(self, columns: Mapping[str, Tensor], begins: bool, ends: bool) -> None:
        super().__init__(columns)
        self.begins, self.ends, self.length = begins, ends, len(columns["terminated"])


class Replay:
    """Transitions in the order in which they happened; the oldest make room once there are `capacity` of them."""

    def __init__(self, schema: Schema, capacity: int = 1_000_000, device: torch.device | str = "cpu") -> None:
        check("Replay.capacity", capacity, Count)
        self.schema, self.capacity, self.device = schema, capacity, torch.device(device)
        columns = {name: torch.empty(0, *shape, device=device) for name, shape in schema.items()}
        columns |= {name: torch.empty(0, dtype=torch.bool, device=device) for name in ENDS}
        self._hold(columns | {name: torch.empty(0, dtype=torch.int32, device=device) for name in PLACES})
        self.total = 0  # ever added
        self._first = 0  # the number of the oldest row that is held; rows are numbered as they come
        self._origin = 0  # row k is at place (k - origin) modulo capacity
        self._ages: dict[int, int] = {}  # of the episode under way in each environment

    def _hold(self, columns: dict[str, Tensor]) -> None:
        """These from now on. On a CPU a few rows are written as arrays, which takes a tenth of the time."""
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
        """A new episode begins in this environment, whether or not the last one ended."""
        self._ages.pop(where, None)

    def extend(self, rows: Mapping[str, Array | Tensor]) -> None:
        """Some at once: (n, *E) for every column, and in `where` (n,) the number of the environment."""
        values = {name: self._checked(name, rows) for name in self._columns if name != "time"}
        ended = (values["terminated"] | values["truncated"]).tolist()
        times = []
        for where, end in zip(values["where"].tolist(), ended, strict=True):
            times.append(self._ages.get(where, 0))
            self._ages[where] = 0 if end else times[-1] + 1
        values["time"] = self._as_written("time", times)
        count = len(times)
        if count > self.capacity:  # the last of them
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
        """Doubling: what is never filled is never held."""
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
        """Lets go of all rows, as an algorithm does that learns from each once."""
        self._first = self._origin = self.total

    def sample(self, rows: int, rng: Generator) -> Rows:
        """So many transitions (rows, *E), each any that is held."""
        self._require_rows()
        index = torch.randint(len(self), (rows,), generator=rng, device=self.device)
        return Rows(self._sampled.rows(index))

    def all(self) -> Rows:
        """(n, *E), the oldest first."""
        return Rows({name: self.column(name) for name in self._columns})

    def column(self, name: str) -> Tensor:
        """(n, *E), the oldest first; a view unless the ring has wrapped."""
        self._require_rows()
        return self._ordered(name)

    def episodes(self) -> list[Episode]:
        """All episodes of which a part is held, in the order in which their first rows came."""
        if not len(self):
            return []
        where, time = self._ordered("where"), self._ordered("time")
        order = where.sort(stable=True).indices  # of each environment together, in the order of time
        begins = time[order] == 0
        fresh = begins.clone()
        fresh[0] = True
        fresh[1:] |= where[order].diff() != 0
        starts = fresh.nonzero().squeeze(1)
        lengths = torch.cat([starts, starts.new_tensor([len(order)])]).diff().tolist()
        pieces = zip(torch.split(order, lengths), begins[starts].tolist(), strict=True)
        return [self._episode(rows, begun) for rows, begun in sorted(pieces, key=lambda piece: int(piece[0][0]))]

    def _episode(self, rows: Tensor, begins: bool) -> Episode:
        """Of these rows (T,), counted from the oldest one."""
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
