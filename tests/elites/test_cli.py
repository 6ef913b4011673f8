"""The messages of scripts, and their exit codes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from elites import cli


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(text: str) -> list[str]:
    """The text on the screen after all `\r` and line clearing."""
    return [line.split("\r\033[K")[-1] for line in text.split("\n")]


def test_lines_stay_and_the_status_goes() -> None:
    stream = Terminal()
    screen = cli.Screen(stream)
    screen.line("first")
    screen.status("a long status")
    screen.status("short")
    screen.line("second")
    screen.status("the end")
    assert shown(stream.getvalue()) == ["first", "second", "the end"]
    assert "a long status" in stream.getvalue()


def test_a_status_fits_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    cli.Screen(stream).status("x" * 50)
    assert stream.getvalue() == "x" * 19


def test_where_nobody_looks_on_there_is_no_status() -> None:
    stream = io.StringIO()
    screen = cli.Screen(stream)
    screen.status("going")
    screen.line("done")
    assert stream.getvalue() == "done\n"


def test_quiet_lets_warnings_through() -> None:
    stream = Terminal()
    screen = cli.Screen(stream, quiet=True)
    screen.line("done")
    screen.status("going")
    screen.warn("no video")
    assert stream.getvalue() == "no video\n"


def fail(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("horizon: expected more"), 2, "script: horizon: expected more\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), 2, "[Errno 2] No such file or directory: 'x'\n"),
        (KeyboardInterrupt(), 130, "script: stopped\n"),
    ],
)
def test_how_a_script_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["examples/script.py"])
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(SystemExit) as left:
        cli.run(fail(error))
    assert left.value.code == code
    assert capsys.readouterr().err.endswith(said)


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(ZeroDivisionError):
        cli.run(fail(ZeroDivisionError()))


@pytest.mark.parametrize("imports", ["elites.__main__", "elites.cli, elites.runs"], ids=["command", "script"])
def test_the_waiting_of_pytorchs_threads_is_set_before_pytorch_is_there(imports: str) -> None:
    code = f"import {imports}, os, sys; order = list(sys.modules); print(os.environ['GOMP_SPINCOUNT'])\n"
    code += "sys.exit(order.index('torch') < order.index('elites.cli'))"
    free = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=free)
    assert (done.stdout, done.returncode) == ("10000\n", 0)
    mine = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=free | {"GOMP_SPINCOUNT": "5"}
    )
    assert mine.stdout == "5\n"
