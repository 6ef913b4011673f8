"""Writes MuJoCo's warnings into the run's folder. MuJoCo itself writes them into the working directory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAME = "MUJOCO_LOG.TXT"


class MujocoLog:
    """MuJoCo's warnings, each once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._folder = say, None
        self._said: list[str] = []

    _folder: Path | None

    def hear(self, text: str) -> None:
        if text not in self._said:
            self._said.append(text)
            self._say(f"MuJoCo: {text}")
            self._write()

    def into(self, folder: Path) -> None:
        """Sets the folder, for past warnings too: a run makes its folder after its environments."""
        self._folder = folder
        self._write()

    def _write(self) -> None:
        if self._folder and self._said:
            (self._folder / NAME).write_text("\n".join(self._said) + "\n")


_listening: dict[int, MujocoLog] = {}  # by thread: MuJoCo warns in the thread of the step
_guard = threading.Lock()
_before: list[Any] = []  # the user's own handler; it gets warnings of other threads


@contextmanager
def mujoco_log(say: Callable[[str], None]) -> Iterator[MujocoLog]:
    """Inside this context, warnings in this thread go to `say` and to the log's folder."""
    log, thread = MujocoLog(say), threading.get_ident()
    try:
        import mujoco
    except ImportError:
        yield log
        return
    with _guard:
        if not _listening:
            _before[:] = [mujoco.get_mju_user_warning()]
            mujoco.set_mju_user_warning(_dispatch)
        outer = _listening.get(thread)
        _listening[thread] = log
    try:
        yield log
    finally:
        with _guard:
            if outer:
                _listening[thread] = outer
            else:
                del _listening[thread]
            if not _listening:
                mujoco.set_mju_user_warning(_before[0])


def _dispatch(text: str) -> None:
    log = _listening.get(threading.get_ident())
    if log:
        log.hear(text)
    elif _before[0]:
        _before[0](text)
