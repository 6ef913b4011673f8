"""What every script of examples/ has around its main."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO


def run(main: Callable[[], None], name: str | None = None) -> None:
    """Mistakes in one line and exit code 2, Ctrl-C with 130; a planner of the user's own is found where they work.

    name: what the line begins with; the script's where it is not given.
    """
    name = name or Path(sys.argv[0]).stem
    sys.path.append(str(Path.cwd()))
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains as it leaves
        sys.exit(1)
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\n{name}: stopped", file=sys.stderr)  # noqa: T201
        sys.exit(130)


class Screen:
    """Lines that stay, and under them one that says how things stand, where a person is looking on."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet, self._live = quiet, not quiet and self._stream.isatty()
        self._shown = False

    def line(self, text: str) -> None:
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """A line that is seen even where progress is not asked for."""
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
    """Within it, the first Ctrl-C (or SIGTERM) asks to stop, for whoever works to see; the second one stops."""

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
        self._screen.line("stopping after this step; once more to stop at once")
