"""Checkpoints: all that a run is, written whole or not at all, and read without pickle."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from elites.agents.replay import Grown

KEPT = 2
TENSOR = "tensor:"
GROWN = "grown:"


def write(folder: Path, state: Mapping[str, Any]) -> Path:
    """Saves nested mappings and lists of tensors and JSON values as N.json and N.safetensors, with the next N.

    The JSON comes last, holds the digests of both, and so makes the checkpoint one. The KEPT newest stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    tree = _pack(state, "", tensors)
    data = save(tensors)
    path = folder / f"{1 + max((int(old.stem) for old in written(folder)), default=0):06d}.json"
    replace(path.with_suffix(".safetensors"), data)
    document = {"state": tree, "tensors": hashlib.sha256(data).hexdigest()}
    document["document"] = _digest(document)
    replace(path, json.dumps(document).encode())
    for old in written(folder)[:-KEPT]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return path


def written(folder: Path) -> list[Path]:
    """The checkpoints in a folder, intact or not, the newest last."""
    return sorted(folder.glob("[0-9]" * 6 + ".json"))


def newest(folder: Path, refused: Callable[[str], None]) -> dict[str, Any]:
    """The newest checkpoint that is intact; `refused` hears of every one that is not."""
    found = written(folder)
    for path in reversed(found):
        try:
            return read(path)
        except ValueError as error:
            refused(f"{error}; trying the one before it")
    raise ValueError(f"{folder}: expected a checkpoint, found {'none that is intact' if found else 'none'}")


def read(path: Path) -> dict[str, Any]:
    """The state in one checkpoint; a ValueError where any bit of it is not as it was written."""
    try:
        document = json.loads(path.read_bytes())
        data = path.with_suffix(".safetensors").read_bytes()
        intact = document.pop("document") == _digest(document)
        if not intact or document["tensors"] != hashlib.sha256(data).hexdigest():
            raise ValueError("its digest does not match")
        state: dict[str, Any] = _unpack(document["state"], load(data))
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: damaged checkpoint: {error}") from None
    return state


def global_random_state() -> dict[str, Any]:
    """The generators that a user's own code may draw from; the library's are its own."""
    name, keys, *numpy_rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "numpy": [name, np.asarray(keys).tolist(), *numpy_rest],
        "python": random.getstate(),
    }


def set_global_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    np.random.set_state(tuple(state["numpy"]))  # noqa: NPY002
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return TENSOR + path
    if isinstance(value, Grown):
        return {GROWN: _pack(value.columns, path, tensors), "first": value.first}
    if isinstance(value, Mapping):
        return {key: _pack(item, f"{path}.{key}" if path else str(key), tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
    return value


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, str) and value.startswith(TENSOR):
        return tensors[value.removeprefix(TENSOR)].clone()  # aligned, as products round by the alignment
    if isinstance(value, dict) and GROWN in value:
        return Grown(_unpack(value[GROWN], tensors), value["first"])
    if isinstance(value, dict):
        return {key: _unpack(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    return value


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def replace(path: Path, data: bytes) -> None:
    """Writes beside, flushes to the disk, then renames: at no moment is there half a file of this name."""
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
