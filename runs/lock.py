"""One process for each run: the owner of a folder, and whether it still runs."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

NAME = "in_use.json"


@dataclass(frozen=True)
class Owner:
    """A process. Systems reuse process numbers, but not with the same start time."""

    host: str
    pid: int
    start: str | None  # the start time in the system's form; None if it is not known
    since: str  # the time at which it took the folder, for people

    @classmethod
    def this(cls) -> Owner:
        return cls(socket.gethostname(), os.getpid(), start_of(os.getpid()), time.strftime("%Y-%m-%d %H:%M:%S"))

    @property
    def dead(self) -> bool:
        """Whether the process is known to have ended. On another host this is never known."""
        if self.host != socket.gethostname():
            return False
        start = start_of(self.pid)
        return start is None or (self.start is not None and start != self.start)


class Lock:
    """Holds a folder for one run: `with Lock(folder): …`. The lock is a file, so other hosts with the folder see it.

    A process that finds no file creates it; only one process can succeed. If the owner is dead, a process first moves
    its file away; again only one can succeed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME

    def __enter__(self) -> Lock:
        self._mine = Owner.this()
        while not self._make(json.dumps(asdict(self._mine))):
            owner = self._owner()
            if owner is None:
                continue  # the owner has just released it
            if not owner.dead:
                raise ValueError(f"{self.folder}: {self._said(owner)}")
            self._move_away(owner)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._owner() == self._mine:  # not if a user removed it and another run took the folder
            self.path.unlink(missing_ok=True)

    def _make(self, text: str) -> bool:
        try:
            number = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        try:
            os.write(number, text.encode())
        finally:
            os.close(number)
        return True

    def _owner(self) -> Owner | None:
        """The owner in the file. None if the file is gone."""
        for _ in range(20):
            try:
                return Owner(**json.loads(self.path.read_text()))
            except FileNotFoundError:
                return None
            except (OSError, ValueError, TypeError):
                time.sleep(0.05)  # the owner may be writing it
        raise ValueError(f"{self.path}: expected the folder's owner, found other text; remove it if nobody uses it")

    def _move_away(self, dead: Owner) -> None:
        aside = self.path.with_name(f"{NAME}.{uuid.uuid4().hex}")
        try:
            self.path.rename(aside)
        except OSError:
            return  # another process was faster
        try:
            if json.loads(aside.read_text()) != asdict(dead):  # it belongs to a faster process: give it back
                self._make(aside.read_text())
        finally:
            aside.unlink(missing_ok=True)

    def _said(self, owner: Owner) -> str:
        here = owner.host == socket.gethostname()
        who = "this process" if here and owner.pid == os.getpid() else f"process {owner.pid}"
        text = f"in use by {who} on {owner.host} since {owner.since}"
        return text if here else f"{text}; if it has ended there, remove {self.path}"


def start_of(pid: int) -> str | None:
    """The start time of a process on this host, in the system's form. None if there is no such process."""
    if sys.platform == "win32":
        return _windows_start_of(pid)
    stat, boot = Path(f"/proc/{pid}/stat"), Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{boot.read_text().strip()} {fields[19]}"
    asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def _windows_start_of(pid: int) -> str | None:
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009  # missing in ctypes on other platforms
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return None
    times = [ctypes.c_ulonglong() for _ in range(4)]  # creation, exit, kernel, user
    try:
        kernel.GetProcessTimes(handle, *map(ctypes.byref, times))
        return None if times[1].value else str(times[0].value)
    finally:
        kernel.CloseHandle(handle)
