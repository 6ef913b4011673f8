"""A model's inputs from a state, described as data so that a compiled model can use them too."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["same", "sin", "cos"]


class Features:
    """Entries of a state, unchanged or as a sine or a cosine: (R, S) -> (R, F).

    Features(0, 1, "sin 2", "cos 2", 3) takes the third entry as an angle.
    """

    def __init__(self, *columns: int | str) -> None:
        self.columns = tuple(_column(column) for column in columns)
        self.parts: list[tuple[Kind, slice]] = []  # neighbours of one kind together
        for kind, group in itertools.groupby(enumerate(self.columns), lambda c: (c[1][0], c[1][1] - c[0])):
            entries = [entry for _, (_, entry) in group]
            self.parts.append((kind[0], slice(entries[0], entries[-1] + 1)))

    def __call__(self, state: Tensor) -> Tensor:
        parts = (
            state[:, entries] if kind == "same" else _FUNCTIONS[kind](state[:, entries]) for kind, entries in self.parts
        )
        return torch.cat(list(parts), 1)

    def __repr__(self) -> str:
        columns = (entry if kind == "same" else f"{kind} {entry}" for kind, entry in self.columns)
        return f"Features{tuple(columns)}"


_FUNCTIONS = {"sin": torch.sin, "cos": torch.cos}


def _column(column: int | str) -> tuple[Kind, int]:
    kind, _, entry = f"same {column}".rpartition("same ")[2].rpartition(" ")
    if kind not in ("", *_FUNCTIONS) or not entry.isdecimal():
        raise ValueError(f"Features: expected an entry, such as 2, 'sin 2' or 'cos 2', got {column!r}")
    return kind or "same", int(entry)  # type: ignore[return-value]
