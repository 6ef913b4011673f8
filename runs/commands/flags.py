"""Command lines: a parser that reports an error in one line, and flags that several commands share."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Raises a ValueError when argparse would print its usage and exit. Suggests the nearest flag."""

    def __init__(self, description: str | None, program: str | None = None, **options: Any) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(program, description=description, formatter_class=form, **options)
        self._optionals.title = "flags"

    def error(self, message: str) -> NoReturn:
        raise ValueError(message.removeprefix("argument "))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            flag = rest[0].partition("=")[0]
            raise ValueError(f"unknown argument {flag!r}; {nearest(flag, self._option_string_actions)}")
        return found


def nearest(text: str, known: Sequence[str] | dict[str, Any]) -> str:
    close = difflib.get_close_matches(text, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def count(text: str) -> int:
    """An integer of at least 1, for argparse's `type`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text}")
    return int(text)


def run_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
