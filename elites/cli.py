"""What every script of examples/ has around its main."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO


def run(main: Callable[[], None]) -> None:
    """Mistakes in one line and exit code 2, Ctrl-C with 130; a planner of the user's own is found where they work."""
    name = Path(sys.argv[0]).stem
    sys.path.append(str(Path.cwd()))
    try:
        main()
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
