"""Checkpoints: the whole state of a run, written completely or not at all, and read without pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from elites.agents.replay import Grown
from elites.runs import segments
from elites.runs.conversion import FORMAT, converted
from elites.runs.files import replace
from elites.runs.segments import Segment

KEPT = 2
TENSOR, GROWN = "tensor:", "rows:"  # their placeholders in the document
Document = dict[str, Any]  # JSON: format, state, tensors (a digest), segments, document (a digest of the others)


class Damaged(ValueError):
    """A checkpoint that differs from what was written."""


class Checkpoints:
    """A run's checkpoints in a folder: N.json, N.safetensors, and rows-N-*.safetensors for rows that only grow.

    The KEPT newest stay. Rows are written once, so a checkpoint can name segments of earlier checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._segments: dict[str, list[Segment]] = {}  # of the last checkpoint read or written, by place in the state

    def write(self, state: Mapping[str, Any]) -> Path:
        """Saves nested mappings and lists of tensors, `Grown` and JSON values, with the next number.

        The document is written last. It holds the digests of all files, so it completes the checkpoint.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        found = written(self.folder)
        path = self.folder / f"{1 + max((int(old.stem) for old in found), default=0):06d}.json"
        tensors: dict[str, Tensor] = {}
        grown: dict[str, Grown] = {}
        tree = _pack(state, "", tensors, grown)
        held = {}
        for number, (place, rows) in enumerate(grown.items()):
            name = f"rows-{path.stem}-{number}.safetensors"
            held[place] = segments.written(self.folder, name, rows, self._segments.get(place, ()))
        data = save(tensors)
        replace(path.with_suffix(".safetensors"), data)
        document: Document = {"format": FORMAT, "state": tree, "tensors": hashlib.sha256(data).hexdigest()}
        document["segments"] = {place: segments.to_json(each) for place, each in held.items()}
        document["document"] = _digest(document)
        replace(path, json.dumps(document).encode())
        self._segments = held
        self._tidy([*found, path])
        return path

    def _tidy(self, found: list[Path]) -> None:
        """Removes all checkpoints but the KEPT newest, and all files that these do not name."""
        for old in found[:-KEPT]:
            old.unlink()
        named = {name for path in found[-KEPT:] for name in (path.with_suffix(".safetensors").name, *_files(path))}
        for pattern in ("[0-9]" * 6 + ".safetensors", "rows-*.safetensors", "*.part"):
            for file in self.folder.glob(pattern):
                if file.name not in named:
                    file.unlink()

    def newest(self, refused: Callable[[str], None]) -> dict[str, Any]:
        """The state of the newest intact checkpoint. `refused` is told of every damaged one."""
        found = written(self.folder)
        for path in reversed(found):
            try:
                return self.read(path)
            except Damaged as error:
                refused(f"{error}; trying the one before it")
        raise ValueError(f"{self.folder}: expected a checkpoint, found {'only damaged ones' if found else 'none'}")

    def read(self, path: Path) -> dict[str, Any]:
        """The state in one checkpoint. Raises Damaged if any bit differs from what was written."""
        try:
            document = json.loads(path.read_bytes())
            data = path.with_suffix(".safetensors").read_bytes()
            intact = document.pop("document") == _digest(document)
            if not intact or document["tensors"] != hashlib.sha256(data).hexdigest():
                raise ValueError("its digest does not match")
            held = {place: segments.from_json(each) for place, each in document.get("segments", {}).items()}
            state: dict[str, Any] = _unpack(document["state"], load(data), self.folder, held)
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(f"{path}: damaged checkpoint: {error}") from None
        self._segments = held
        return converted(state, document.get("format", 1), str(path))


def write(folder: Path, state: Mapping[str, Any]) -> Path:
    """Writes a checkpoint that shares no rows with earlier ones."""
    return Checkpoints(folder).write(state)


def written(folder: Path) -> list[Path]:
    """All checkpoints in a folder, intact or not, newest last."""
    return sorted(folder.glob("[0-9]" * 6 + ".json"))


def newest(folder: Path, refused: Callable[[str], None]) -> dict[str, Any]:
    return Checkpoints(folder).newest(refused)


def read(path: Path) -> dict[str, Any]:
    return Checkpoints(path.parent).read(path)


def _files(path: Path) -> set[str]:
    """The files of segments that a checkpoint names; none if it is damaged."""
    try:
        found = json.loads(path.read_bytes())["segments"].values()
        return {segment["file"] for each in found for segment in each}
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return set()


def _pack(value: Any, path: str, tensors: dict[str, Tensor], grown: dict[str, Grown]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return TENSOR + path
    if isinstance(value, Grown):
        grown[path] = value
        columns = _pack(segments.without_rows(value).columns, path, tensors, grown)
        return {GROWN: path, "first": value.first, "columns": columns}
    if isinstance(value, Mapping):
        named = ((str(key), item) for key, item in value.items())  # JSON's keys are strings, and sorted as such
        return {key: _pack(item, f"{path}.{key}" if path else key, tensors, grown) for key, item in named}
    if isinstance(value, list | tuple):
        return [_pack(item, f"{path}.{index}", tensors, grown) for index, item in enumerate(value)]
    return value


def _unpack(value: Any, tensors: Mapping[str, Tensor], folder: Path, held: Mapping[str, list[Segment]]) -> Any:
    if isinstance(value, str) and value.startswith(TENSOR):
        return tensors[value.removeprefix(TENSOR)].clone()  # clone aligns it: products round by alignment
    if isinstance(value, dict):
        found = {key: _unpack(item, tensors, folder, held) for key, item in value.items()}
        if GROWN in found:
            return segments.read(folder, held[found[GROWN]], Grown(found["columns"], found["first"]))
        return found
    if isinstance(value, list):
        return [_unpack(item, tensors, folder, held) for item in value]
    return value


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
