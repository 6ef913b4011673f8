"""Runs side by side, in one HTML page that holds everything it shows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from elites.runs.report.page import page
from elites.runs.report.reading import Result, read

__all__ = ["Result", "beside", "found", "page", "read", "write"]


def found(folder: Path = Path("outputs")) -> list[Path]:
    """The folders of all runs below one."""
    runs = sorted(path.parent for path in folder.rglob("config.yaml"))
    if not runs:
        raise ValueError(f"expected the folders of runs, and found none below {folder}")
    return runs


def beside(runs: Sequence[Path]) -> Path:
    """Where the page goes unless it is told: beside the runs, in the folder that holds them all."""
    common, here = Path(os.path.commonpath([run.resolve().parent for run in runs])), Path.cwd()
    return (common.relative_to(here) if common.is_relative_to(here) else common) / "report.html"


def write(runs: Sequence[Path], out: Path | None = None) -> Path:
    """The page of these runs in a file; the file."""
    out = out or beside(runs)
    runs = [run for run in dict.fromkeys(runs) if run.resolve() != out.resolve()]  # `outputs/*` has the last page
    text = page([read(folder, f"run-{number}") for number, folder in enumerate(runs, start=1)])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise OSError(f"{out}: cannot be written: {error.strerror or error}") from None
    return out
