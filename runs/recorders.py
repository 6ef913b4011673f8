"""Observers that write files: metrics.csv and TensorBoard's events."""

from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING

from elites.runs.files import replace
from elites.runs.observers import Observer, Watched
from elites.runs.progress import Row

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

AT_LEAST_S, SHARE = 1.0, 0.02  # least seconds between two writes of metrics.csv, and its largest share of the time


class MetricsCSV(Observer):
    """Writes metrics.csv. It is written from all rows each time, because a later row can have new columns."""

    def began(self, run: Watched) -> None:
        self._run, self._written = run, len(run.rows)
        self._last, self._took = time.perf_counter(), 0.0

    def row(self, row: Row) -> None:
        if time.perf_counter() - self._last >= max(AT_LEAST_S, self._took / SHARE):
            self._write()

    def saving(self) -> None:
        if self._written != len(self._run.rows):
            self._write()

    def _write(self) -> None:
        began, rows = time.perf_counter(), self._run.rows
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        replace(self._run.folder / "metrics.csv", text.getvalue().encode())
        self._last, self._written = time.perf_counter(), len(rows)
        self._took = self._last - began


class TensorBoard(Observer):
    """Writes scalars PHASE/FIGURE by environment steps. Needs elites[runs]."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None
        self._missing = False

    def began(self, run: Watched) -> None:
        self._run = run

    def row(self, row: Row) -> None:
        if self._writer is None and not self._missing:
            self._writer = self._open(row["env_steps"])
        if self._writer is not None:
            for name, value in row.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"{row['phase']}/{name}", value, row["env_steps"])

    def saving(self) -> None:
        if self._writer:
            self._writer.flush()

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _open(self, step: int) -> SummaryWriter | None:
        """Opens a writer. It removes events of an interrupted run that are later than the checkpoint."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._missing = True
            self._run.observers.tell('no TensorBoard events: they need pip install "elites[runs]"')
            return None
        return SummaryWriter(str(self._run.folder), purge_step=step)
