"""Checkpoints are complete, or refused."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elites.runs import chance, checkpoint

STATE = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(True)},
    "rng": torch.Generator().manual_seed(3).get_state(),
    "rows": [{"return": 1.5, "phase": "random"}, {"return": -0.1, "best": None}],
    "empty": torch.empty(0),
    "count": 7,
    "precise": torch.tensor([0.1], dtype=torch.float64),
}


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def test_there_and_back(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path / "new", STATE)
    assert equal(checkpoint.read(path), STATE)


def test_keys_that_are_numbers(tmp_path: Path) -> None:
    """As in the state of an optimizer. JSON sorts 10 before 2, so a digest of numbers differs from one of strings."""
    path = checkpoint.write(tmp_path, {"of": {number: number for number in range(12)}})
    assert checkpoint.read(path)["of"] == {str(number): number for number in range(12)}


def test_the_two_newest_stay(tmp_path: Path) -> None:
    for count in range(5):
        checkpoint.write(tmp_path, {"count": count, "tensor": torch.tensor(count)})
    names = ["000004.json", "000004.safetensors", "000005.json", "000005.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert checkpoint.newest(tmp_path, pytest.fail)["count"] == 4


DAMAGES = {
    "half the tensors": (".safetensors", lambda data: data[: len(data) // 2]),
    "no tensors": (".safetensors", lambda data: b""),
    "one bit of the tensors": (".safetensors", lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]),
    "half the document": (".json", lambda data: data[: len(data) // 2]),
    "no document": (".json", lambda data: b""),
    "another number in the document": (".json", lambda data: data.replace(b'"count": 2', b'"count": 3')),
    "another document": (".json", lambda data: b"[1, 2]"),
    "not even text": (".json", lambda data: b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_refused_and_the_one_before_it_used(tmp_path: Path, damage: str) -> None:
    checkpoint.write(tmp_path, {**STATE, "count": 1})
    path = checkpoint.write(tmp_path, {**STATE, "count": 2})
    suffix, change = DAMAGES[damage]
    file = path.with_suffix(suffix)
    file.write_bytes(change(file.read_bytes()))
    said: list[str] = []
    assert checkpoint.newest(tmp_path, said.append)["count"] == 1
    assert len(said) == 1
    assert said[0].startswith(f"{path}: damaged checkpoint: ")
    assert said[0].endswith("; trying the one before it")
    assert "\n" not in said[0]


def test_every_single_byte_counts(tmp_path: Path) -> None:
    """All of 200 random bit flips are found."""
    path = checkpoint.write(tmp_path, STATE)
    chance = random.Random(0)
    for suffix in (".json", ".safetensors"):
        file = path.with_suffix(suffix)
        good = file.read_bytes()
        for _ in range(100):
            place = chance.randrange(len(good))
            file.write_bytes(good[:place] + bytes([good[place] ^ (1 << chance.randrange(8))]) + good[place + 1 :])
            with pytest.raises(ValueError, match="damaged checkpoint"):
                checkpoint.read(path)
        file.write_bytes(good)
    assert equal(checkpoint.read(path), STATE)


def test_a_missing_half_is_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, {"count": 1})
    checkpoint.write(tmp_path, {"count": 2}).with_suffix(".safetensors").unlink()
    assert checkpoint.newest(tmp_path, lambda text: None)["count"] == 1


def test_nothing_intact(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a checkpoint, found none"):
        checkpoint.newest(tmp_path, pytest.fail)
    checkpoint.write(tmp_path, {"count": 1}).write_bytes(b"{}")
    with pytest.raises(ValueError, match="expected a checkpoint, found only damaged ones"):
        checkpoint.newest(tmp_path, lambda text: None)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    checkpoint.write(tmp_path, {"count": 1})

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(tmp_path, {"count": 2})
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.part"))
    assert checkpoint.newest(tmp_path, pytest.fail)["count"] == 1


def test_killed_between_the_two_files(tmp_path: Path) -> None:
    """Tensors without their document are no checkpoint. The next checkpoint replaces them."""
    checkpoint.write(tmp_path, {"count": 1})
    checkpoint.write(tmp_path, {"count": 2, "tensor": torch.ones(3)}).unlink()
    (tmp_path / "000002.json.part").write_bytes(b'{"sta')
    (tmp_path / "a copy of 000001.json").write_bytes(b"{}")
    assert checkpoint.newest(tmp_path, pytest.fail)["count"] == 1
    checkpoint.write(tmp_path, {"count": 3})
    assert checkpoint.newest(tmp_path, pytest.fail)["count"] == 3


def test_the_generators_of_a_user(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, {"random": chance.global_state()})

    def draws() -> list[float]:
        return [torch.rand(()).item(), np.random.rand(), random.random(), np.random.normal()]  # noqa: NPY002

    first = draws()
    assert first != draws()
    chance.set_global_state(checkpoint.read(path)["random"])
    assert first == draws()
