"""Stores rows that only grow in files that are written once, so the cost of a checkpoint does not grow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from elites.agents.replay import Grown
from elites.runs.files import replace

FULL = 16 * 2**20  # bytes: a segment of this size is not written again


@dataclass(frozen=True)
class Segment:
    """A file with the rows begin … end - 1."""

    file: str
    begin: int
    end: int
    size: int  # in bytes
    digest: str  # of the file
    marks: tuple[str, str]  # digests of its first and its last row

    def holds(self, grown: Grown) -> bool:
        """Whether its first and last row equal the rows of the same numbers in `grown`."""
        first, beyond = grown.first, grown.first + _count(grown)
        if self.end > beyond:
            return False
        ends = zip((self.begin, self.end - 1), self.marks, strict=True)
        return all(_mark(grown, number) == mark for number, mark in ends if number >= first)


def written(folder: Path, name: str, grown: Grown, before: Sequence[Segment]) -> list[Segment]:
    """The segments of all rows: those of `before` with rows still in use, and a new one called `name`.

    The new segment absorbs its last neighbours if they are not FULL and no larger than itself. So a row is rewritten
    at most log₂(FULL / a checkpoint's rows) times. The number of segments that are not full is about the same.
    """
    kept = [segment for segment in before if segment.end > grown.first]
    if kept and (kept[0].begin > grown.first or not all(segment.holds(grown) for segment in kept)):
        kept = []  # the rows have new numbers
    beyond = grown.first + _count(grown)
    begin = kept[-1].end if kept else grown.first
    if begin == beyond:
        return kept
    row = sum(column.element_size() * column[:1].numel() for column in grown.columns.values())
    while kept and kept[-1].size <= min((beyond - begin) * row, FULL // 2):
        begin = max(kept.pop().begin, grown.first)
    columns = {key: value.cpu().contiguous().clone() for key, value in _rows(grown, begin, beyond).items()}
    data = save(columns)
    replace(folder / name, data)
    size, digest = (beyond - begin) * row, hashlib.sha256(data).hexdigest()
    marks = _mark(grown, begin), _mark(grown, beyond - 1)
    return [*kept, Segment(name, begin, beyond, size, digest, marks)]


def read(folder: Path, segments: Sequence[Segment], empty: Grown) -> Grown:
    """The rows from `empty.first` on, in its columns. Raises a ValueError if any bit differs from what was written."""
    parts = [dict(empty.columns)]
    for segment in segments:
        data = (folder / segment.file).read_bytes()
        if hashlib.sha256(data).hexdigest() != segment.digest:
            raise ValueError(f"the digest of {segment.file} does not match")
        skipped = max(empty.first - segment.begin, 0)
        parts.append({name: column[skipped:] for name, column in load(data).items()})
    return Grown({name: torch.cat([part[name] for part in parts]) for name in empty.columns}, empty.first)


def without_rows(grown: Grown) -> Grown:
    """The columns with their names, types and shapes, without rows."""
    return Grown({name: column[:0] for name, column in grown.columns.items()}, grown.first)


def to_json(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    return [vars(segment) | {"marks": list(segment.marks)} for segment in segments]


def from_json(found: Sequence[Mapping[str, Any]]) -> list[Segment]:
    return [Segment(**{**each, "marks": tuple(each["marks"])}) for each in found]


def _count(grown: Grown) -> int:
    return min((len(column) for column in grown.columns.values()), default=0)


def _rows(grown: Grown, begin: int, end: int) -> dict[str, Tensor]:
    return {name: column[begin - grown.first : end - grown.first] for name, column in grown.columns.items()}


def _mark(grown: Grown, number: int) -> str:
    """A digest of one row: its columns' names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, column in _rows(grown, number, number + 1).items():
        digest.update(f"{name} {column.dtype} {tuple(column.shape)}".encode())
        digest.update(column.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
