"""Compares runs in one HTML page, which needs no other file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from elites.runs.report.page import page
from elites.runs.report.reading import Result, read

__all__ = ["Result", "beside", "found", "page", "read", "write"]


def found(folder: Path = Path("outputs")) -> list[Path]:
    """The folders of all runs below a folder."""
    runs = sorted(path.parent for path in folder.rglob("config.yaml"))
    if not runs:
        raise ValueError(f"expected folders of runs, found none below {folder}")
    return runs


def beside(runs: Sequence[Path]) -> Path:
    """The default path of the page: in the folder that holds all the runs."""
    common, here = Path(os.path.commonpath([run.resolve().parent for run in runs])), Path.cwd()
    return (common.relative_to(here) if common.is_relative_to(here) else common) / "report.html"


def write(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Writes the page of these runs. Returns its path."""
    out = out or beside(runs)
    runs = [run for run in dict.fromkeys(runs) if run.resolve() != out.resolve()]  # `outputs/*` includes the last page
    text = page([read(folder, f"run-{number}") for number, folder in enumerate(runs, start=1)])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise OSError(f"{out}: cannot be written: {error.strerror or error}") from None
    return out
