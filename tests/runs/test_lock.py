"""A run's folder belongs to one process."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from elites.runs.lock import NAME, Lock, Owner, start_of


def test_in_use_by_this_process_in_another_thread(tmp_path: Path) -> None:
    said: list[str] = []

    def other() -> None:
        try:
            with Lock(tmp_path):
                said.append("taken")
        except ValueError as error:
            said.append(str(error))

    for _ in range(2):
        with Lock(tmp_path):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        assert not (tmp_path / NAME).exists()
    where, when = re.escape(str(tmp_path)), r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    for text in said:
        assert re.fullmatch(rf"{where}: in use by this process on {socket.gethostname()} since {when}", text)
    other()
    assert said[-1] == "taken"


WAITS = """
import sys
from pathlib import Path
from elites.runs.lock import Lock

with Lock(Path(sys.argv[1])):
    print("taken", flush=True)
    sys.stdin.read()
"""


def test_in_use_by_another_process_until_it_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "taken\n"
    with pytest.raises(ValueError, match=rf": in use by process {process.pid} on .* since "), Lock(tmp_path):
        pass
    process.kill()
    process.communicate()
    assert (tmp_path / NAME).exists()
    with Lock(tmp_path):  # the lock is taken over
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def of(**changed: object) -> str:
    return json.dumps(vars(Owner.this()) | changed)


@pytest.mark.parametrize("text", [of(start="another"), of(pid=2**22 + 1), of(pid=2**22 + 1, start=None)], ids=range(3))
def test_a_dead_owner_is_taken_over(tmp_path: Path, text: str) -> None:
    """No process has its number, or a process that started at another time."""
    (tmp_path / NAME).write_text(text)
    with Lock(tmp_path):
        pass


@pytest.mark.parametrize("text", [of(), of(start=None)], ids=["started", "unknown"])
def test_a_living_one_is_not(tmp_path: Path, text: str) -> None:
    """If the start of the owner is not known, its number decides."""
    (tmp_path / NAME).write_text(text)
    with pytest.raises(ValueError, match="in use by this process"), Lock(tmp_path):
        pass
    assert (tmp_path / NAME).read_text() == text


def test_on_another_host_nobody_knows_whether_it_lives(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(of(host="elsewhere", pid=7, since="2026-01-01 00:00:00"))
    said = "in use by process 7 on elsewhere since 2026-01-01 00:00:00; if it has ended there, remove "
    said += str(tmp_path / NAME)
    with pytest.raises(ValueError, match=re.escape(said)), Lock(tmp_path):
        pass


def test_half_a_lock(tmp_path: Path) -> None:
    """The writer was interrupted."""
    (tmp_path / NAME).write_text('{"host": ')
    with pytest.raises(ValueError, match="expected the folder's owner, found other text"), Lock(tmp_path):
        pass


def test_of_many_that_take_over_one_does(tmp_path: Path) -> None:
    """All others are refused or come later. Two are never inside."""
    inside, most, guard = [0], [0], threading.Lock()
    begin = threading.Barrier(8)

    def take() -> None:
        begin.wait()
        for _ in range(30):
            try:
                with Lock(tmp_path):
                    with guard:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    with guard:
                        inside[0] -= 1
            except ValueError:
                continue

    (tmp_path / NAME).write_text(of(start="another"))
    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_one_that_was_removed_by_hand_is_not_removed_again(tmp_path: Path) -> None:
    with Lock(tmp_path):
        (tmp_path / NAME).write_text(of(pid=1))
    assert json.loads((tmp_path / NAME).read_text())["pid"] == 1


def test_when_a_process_began() -> None:
    assert start_of(os.getpid()) == start_of(os.getpid())
    assert start_of(os.getpid()) != start_of(1)
    assert start_of(2**22 + 1) is None
