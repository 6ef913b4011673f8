"""Rows that only grow are written once. An interrupted checkpoint leaves the last good one."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from elites.agents import Grown
from elites.runs import files, segments
from elites.runs.checkpoint import Checkpoints

WIDTH = 100
ROW = 4 * (WIDTH + 1) + 1  # bytes of a row


def rows(first: int, beyond: int) -> Grown:
    """Rows in which row k holds k."""
    number = torch.arange(first, beyond)
    columns = {
        "state": number[:, None].expand(-1, WIDTH).float().clone(),
        "reward": number.float() / 10,
        "terminated": number % 3 == 0,
    }
    return Grown(columns, first)


def state(first: int, beyond: int) -> dict[str, Any]:
    return {"replay": {"rows": rows(first, beyond), "other": torch.ones(3)}, "count": beyond}


def same(found: Grown, expected: Grown) -> bool:
    assert found.columns.keys() == expected.columns.keys()
    for name, column in expected.columns.items():
        assert found.columns[name].dtype == column.dtype
        assert torch.equal(found.columns[name], column)
    return found.first == expected.first


@contextmanager
def bytes_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The sizes of all files written, in order."""
    sizes: list[int] = []
    write = files.replace

    def counted(path: Path, data: bytes) -> None:
        sizes.append(len(data))
        write(path, data)

    with monkeypatch.context() as patch:
        for module in ("checkpoint", "segments"):
            patch.setattr(f"elites.runs.{module}.replace", counted)
        yield sizes


def test_what_a_checkpoint_costs_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes: 400 checkpoints with 50 new rows each, in two halves. Plain copies of all rows would only grow."""
    monkeypatch.setattr(segments, "FULL", 1000 * ROW)
    saved, costs = Checkpoints(tmp_path), []
    for number in range(1, 401):
        with bytes_written(monkeypatch) as sizes:
            saved.write(state(0, 50 * number))
        costs.append(sum(sizes))
    assert same(saved.newest(pytest.fail)["replay"]["rows"], rows(0, 20_000))
    early, late = costs[100:200], costs[300:]
    assert sum(late) < 1.1 * sum(early)
    assert max(costs) < 1000 * ROW + 30_000
    assert sum(costs) < 6 * 20_000 * ROW  # a row is written about log2(1000 / 50) times
    assert len(list(tmp_path.glob("rows-*"))) < 20_000 / 500 + 10


def test_segments_are_merged_as_a_binary_counter_counts(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path)
    for number in range(1, 8):
        saved.write(state(0, 10 * number))
        ends = [(each.begin, each.end) for each in saved._segments["replay.rows"]]
        assert len(ends) == number.bit_count()
        assert [begin for begin, _ in ends] == [0, *(end for _, end in ends[:-1])]
        assert ends[-1][1] == 10 * number
    assert [end - begin for begin, end in ends] == [40, 20, 10]


def test_a_segment_is_written_once(tmp_path: Path) -> None:
    """Two checkpoints share the file. The second one does not change it."""
    saved = Checkpoints(tmp_path)
    saved.write(state(0, 100))
    first = next(tmp_path.glob("rows-000001-0.safetensors")).stat()
    saved.write(state(0, 110))
    again = next(tmp_path.glob("rows-000001-0.safetensors")).stat()
    assert (again.st_mtime_ns, again.st_ino) == (first.st_mtime_ns, first.st_ino)
    assert [path.name for path in sorted(tmp_path.glob("rows-*"))] == [
        "rows-000001-0.safetensors",
        "rows-000002-0.safetensors",
    ]
    for beyond, path in ((100, "000001.json"), (110, "000002.json")):
        assert same(saved.read(tmp_path / path)["replay"]["rows"], rows(0, beyond))


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path)
    saved.write(state(0, 100))
    saved.write(state(0, 100))
    saved.write(state(0, 100))
    assert [path.name for path in tmp_path.glob("rows-*")] == ["rows-000001-0.safetensors"]
    assert same(saved.newest(pytest.fail)["replay"]["rows"], rows(0, 100))


def test_rows_that_a_full_ring_has_dropped_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FULL", 40 * ROW)
    saved = Checkpoints(tmp_path)
    for beyond in range(25, 1000, 25):
        first = max(0, beyond - 110)
        saved.write(state(first, beyond))
        assert same(saved.newest(pytest.fail)["replay"]["rows"], rows(first, beyond))
        assert len(list(tmp_path.glob("rows-*"))) <= 9  # files of two checkpoints
    saved.write(state(975, 1000))
    assert [(each.begin, each.end) for each in saved._segments["replay.rows"]] == [(975, 1000)]
    saved.write(state(890, 1000))  # rows of another agent
    held = sum(each.end - each.begin for each in saved._segments["replay.rows"])
    assert 110 <= held <= 110 + 2 * 40


def test_files_that_no_kept_checkpoint_names_are_removed(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path)
    for beyond in (10, 20, 30, 40, 50):
        saved.write(state(0, beyond))
    (tmp_path / "rows-000009-0.safetensors.part").touch()
    (tmp_path / "a copy.safetensors").touch()
    saved.write(state(0, 60))
    found = {path.name for path in tmp_path.iterdir()}
    named = {each.file for each in saved._segments["replay.rows"]}
    assert "a copy.safetensors" in found  # a user's own file
    assert not [name for name in found if name.endswith(".part")]
    assert named <= found
    assert {name for name in found if name.startswith("rows-")} - named <= {"rows-000005-0.safetensors"}
    assert sorted(name for name in found if name.endswith(".json")) == ["000005.json", "000006.json"]
    assert same(saved.read(tmp_path / "000005.json")["replay"]["rows"], rows(0, 50))


def test_no_rows_yet(tmp_path: Path) -> None:
    """The columns are known already."""
    saved = Checkpoints(tmp_path)
    saved.write(state(0, 0))
    assert same(saved.newest(pytest.fail)["replay"]["rows"], rows(0, 0))
    saved.write(state(0, 5))
    assert same(saved.newest(pytest.fail)["replay"]["rows"], rows(0, 5))
    saved.write(state(5, 5))  # an agent that dropped all rows
    assert same(saved.newest(pytest.fail)["replay"]["rows"], rows(5, 5))


def test_another_process_goes_on_with_the_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Checkpoints(tmp_path).write(state(0, 1000))
    other = Checkpoints(tmp_path)
    other.newest(pytest.fail)
    with bytes_written(monkeypatch) as sizes:
        other.write(state(0, 1010))
    assert sum(sizes) < 10 * ROW + 4000
    assert same(other.newest(pytest.fail)["replay"]["rows"], rows(0, 1010))


def test_one_that_goes_on_from_an_older_checkpoint(tmp_path: Path) -> None:
    """If the newest checkpoint is damaged, its rows are not reused: the new rows have other contents."""
    first = Checkpoints(tmp_path)
    first.write(state(0, 100))
    path = first.write(state(0, 150))
    path.write_bytes(b"{}")
    other = Checkpoints(tmp_path)
    assert other.newest(lambda text: None)["count"] == 100
    grown = rows(0, 130)
    grown.columns["state"][100:] *= -1
    other.write({"replay": {"rows": grown}})
    assert same(Checkpoints(tmp_path).newest(pytest.fail)["replay"]["rows"], grown)


@pytest.mark.parametrize(
    "other",
    [
        lambda: rows(20, 150),  # other rows with the same numbers
        lambda: Grown({name: column[3:] for name, column in rows(0, 153).columns.items()}, 0),
        lambda: Grown({name: column[:60] for name, column in rows(0, 100).columns.items()}, 40),
        lambda: Grown({**rows(0, 100).columns, "more": torch.zeros(100)}, 0),
        lambda: Grown({**rows(0, 100).columns, "reward": torch.zeros(100, dtype=torch.float64)}, 0),
        lambda: Grown({name: column.double() for name, column in rows(0, 120).columns.items()}, 0),
        lambda: rows(0, 50),
    ],
)
def test_rows_that_are_others_now_are_all_written(tmp_path: Path, other: Callable[[], Grown]) -> None:
    saved, grown = Checkpoints(tmp_path), other()
    saved.write(state(0, 100))
    saved.write({"replay": {"rows": grown}})
    assert same(saved.newest(pytest.fail)["replay"]["rows"], grown)


@pytest.mark.parametrize("damage", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: b"", None])
def test_a_damaged_segment_is_a_damaged_checkpoint(tmp_path: Path, damage: Callable[[bytes], bytes] | None) -> None:
    saved = Checkpoints(tmp_path)
    saved.write(state(0, 100))
    saved.write(state(0, 110))
    file = tmp_path / "rows-000002-0.safetensors"
    file.write_bytes(damage(file.read_bytes())) if damage else file.unlink()
    said: list[str] = []
    assert Checkpoints(tmp_path).newest(said.append)["count"] == 100
    assert len(said) == 1
    assert "000002.json: damaged checkpoint: " in said[0]


class Killed(BaseException):
    """The process ends: nothing runs after it."""


def full_disk() -> BaseException:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, number: int, error: Callable[[], BaseException]) -> Iterator[list[str]]:
    """The n-th write, sync or rename raises. If the process is killed, all later ones raise too."""
    calls: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == number or (len(calls) > number and error is Killed):
                if name == "write":
                    call(args[0], args[1][: len(args[1]) // 2])  # half of the data is on the disk
                raise error()
            return call(*args, **options)

        return instead

    class File:
        """A file that counts its writes."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> File:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            counted("write", lambda file, part: file.write(part))(self.file, data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    opened = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *args, **options: File(opened(path, *args, **options)))
        patch.setattr(os, "fsync", counted("sync", os.fsync))
        patch.setattr(Path, "replace", counted("rename", Path.replace))
        if error is Killed:
            patch.setattr(Path, "unlink", counted("unlink", Path.unlink))
        yield calls


@pytest.mark.parametrize("error", [full_disk, Killed])
def test_whatever_fails_the_last_good_checkpoint_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]
) -> None:
    """The n-th write, sync or rename of a checkpoint fails, for every n that exists."""
    for number in range(1, 100):
        folder = tmp_path / str(number)
        before = Checkpoints(folder)
        before.write(state(0, 100))
        before.write(state(0, 110))
        with failing(monkeypatch, number, error) as calls:
            try:
                before.write(state(5, 115))
                failed = False
            except (OSError, Killed):
                failed = True
        after = Checkpoints(folder)
        found = after.newest(pytest.fail)
        expected = (5, 115) if found["count"] == 115 else (0, 110)
        assert same(found["replay"]["rows"], rows(*expected))
        assert found["count"] == expected[1]
        goes_on = after if error is Killed else before  # another process, or this one when there is space again
        goes_on.write(state(10, 130))
        assert same(Checkpoints(folder).newest(pytest.fail)["replay"]["rows"], rows(10, 130))
        assert not list(folder.glob("*.part"))
        if not failed:
            break
    kinds = {"write", "sync", "rename"} | ({"unlink"} if error is Killed else set())
    assert set(calls) == kinds
    assert number == len(calls) + 1 > 9


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot sync a folder")
def test_a_folder_is_synced_after_its_file_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    sync, rename = os.fsync, Path.replace

    def synced(number: int) -> None:
        happened.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        sync(number)

    def renamed(path: Path, target: Path) -> Path:
        happened.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    files.replace(tmp_path / "a", b"1")
    assert happened == ["file", "rename", "folder"]
