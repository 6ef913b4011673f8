"""The frame around the `main` of a command or a script: errors, lines on the screen, and Ctrl-C."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

# PyTorch reads this when it is imported. Else a thread that waits for another keeps its core busy, for 300,000 rounds.
# Beside other processes that may be the core that the other thread needs.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def run(main: Callable[[], None], name: str | None = None) -> None:
    """Runs `main`. An error prints one line and exits with 2; Ctrl-C exits with 130.

    A user's own planner can be imported from the working directory. name: the start of the line; None: the script's.
    """
    name = name or Path(sys.argv[0]).stem
    sys.path.append(str(Path.cwd()))
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python prints an error at exit
        sys.exit(1)
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\n{name}: stopped", file=sys.stderr)  # noqa: T201
        sys.exit(130)


class Screen:
    """Lines that stay, and a status line below them if the stream is a terminal."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet, self._live = quiet, not quiet and self._stream.isatty()
        self._shown = False

    def line(self, text: str) -> None:
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Prints a line even if `quiet`."""
        self._clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def status(self, text: str) -> None:
        if self._live:
            self._clear()
            self._stream.write(text[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            self._stream.write("\r\033[K")
            self._shown = False


class Interrupt:
    """Inside this context, the first Ctrl-C (or SIGTERM) sets `asked`. The second one raises KeyboardInterrupt."""

    def __init__(self, screen: Screen) -> None:
        self.asked, self._screen = False, screen
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._screen.line("stopping after this step; press Ctrl-C again to stop at once")
