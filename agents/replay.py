"""The replay buffer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from elites.fields import Count, check


@dataclass(frozen=True, eq=False)
class Grown:
    """Rows that only grow at their end: a checkpoint writes each once."""

    columns: Mapping[str, Tensor]  # (n, *E) each, the oldest first
    first: int  # the oldest row's number, counted from the run's beginning; the rows are first … first + n - 1


class Replay:
    """Transitions in the order in which they happened; the oldest make room once there are `capacity` of them.

    A row is (state, action, reward, next_state, terminated): truncation is not termination, and is not in it.
    """

    FIELDS = ("state", "action", "reward", "next_state", "terminated")

    def __init__(self, capacity: int = 1_000_000, device: torch.device | str = "cpu") -> None:
        check("Replay.capacity", capacity, Count)
        self.capacity, self.device = capacity, torch.device(device)
        self.total = 0  # ever added
        self._columns: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    def add(self, **row: Any) -> None:
        """One transition: numbers, or arrays of shape (*E)."""
        self.extend(**{name: torch.as_tensor(row[name], dtype=torch.float32)[None] for name in self.FIELDS})

    def extend(self, **rows: Any) -> None:
        """Several at once: arrays (n, *E)."""
        values = {name: torch.as_tensor(rows[name], dtype=torch.float32) for name in self.FIELDS}
        if not self._columns:
            shapes = {name: value.shape[1:] for name, value in values.items()}
            self._columns = {name: torch.empty(0, *shape, device=self.device) for name, shape in shapes.items()}
        count = len(values["state"])
        self._make_room(min(self.total + count, self.capacity))
        places = torch.arange(self.total, self.total + count, device=self.device) % self.capacity
        for name, value in values.items():
            self._columns[name][places] = value.to(self.device)
        self.total += count

    def _make_room(self, wanted: int) -> None:
        """Doubling: what is never filled is never held."""
        room = len(self._columns["state"])
        if room < wanted:
            more = min(max(room, wanted - room, 1024), self.capacity - room)
            for name, column in self._columns.items():
                self._columns[name] = torch.cat([column, column.new_empty(more, *column.shape[1:])])

    def sample(self, rows: int, rng: Generator) -> dict[str, Tensor]:
        """So many transitions (rows, *E), each any that is held."""
        if not len(self):
            raise ValueError("Replay: expected transitions, found none")
        index = torch.randint(len(self), (rows,), generator=rng, device=self.device)
        return {name: column[index] for name, column in self._columns.items()}

    def column(self, name: str) -> Tensor:
        """(n, *E), the oldest first."""
        if not self._columns:
            raise ValueError("Replay: expected transitions, found none")
        column = self._columns[name]
        if self.total <= self.capacity:
            return column[: self.total]
        return column.roll(-(self.total % self.capacity), 0)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": Grown({name: self.column(name) for name in self._columns}, self.total - len(self))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        rows: Grown = state["rows"]
        held = min((len(column) for column in rows.columns.values()), default=0)
        fewer = rows.first > 0 and held < self.capacity  # there was less room: what was let go does not count
        self.total = held if fewer else rows.first + held
        self._columns = {}
        for name, column in rows.columns.items():
            column = column[-self.capacity :].to(self.device)
            self._columns[name] = column.roll(self.total % self.capacity, 0) if self.total > self.capacity else column
