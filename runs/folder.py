"""A run's folder: what was asked for, what came out, and all that it takes to go on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from elites import config
from elites.runs import checkpoint

Row = dict[str, Any]


class Run:
    """config.yaml, metrics.csv, TensorBoard events, checkpoints/, summary.json, pictures and a video.

    say: takes a line that a person should read.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self._events: Any = None

    @classmethod
    def begin(cls, folder: Path, settings: Mapping[str, Any], say: Callable[[str], None]) -> Run:
        """A new folder, or one that holds no run."""
        if (folder / "config.yaml").exists():
            raise ValueError(f"{folder}: holds a run already; --resume {folder} goes on with it")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise ValueError(f"{folder}: expected a folder, found a file") from None
        run = cls(folder, say)
        run.configure(settings)
        return run

    @classmethod
    def resume(cls, folder: Path, say: Callable[[str], None]) -> tuple[Run, dict[str, Any]]:
        """A folder that holds a run, and the settings that it was begun with."""
        if not (folder / "config.yaml").exists():
            raise ValueError(f"{folder}: expected the folder of a run, found no config.yaml in it")
        return cls(folder, say), config.load(folder / "config.yaml")

    def configure(self, settings: Mapping[str, Any]) -> None:
        text = yaml.safe_dump(dict(settings), sort_keys=False)
        checkpoint.replace(self.folder / "config.yaml", text.encode())

    def save(self, state: Mapping[str, Any]) -> None:
        checkpoint.write(self.folder / "checkpoints", state)

    @property
    def last_checkpoint(self) -> Path | None:
        return max(checkpoint.written(self.folder / "checkpoints"), default=None)

    def load(self) -> dict[str, Any] | None:
        """The newest intact checkpoint; None where the run was stopped before its first."""
        return checkpoint.newest(self.folder / "checkpoints", self.say) if self.last_checkpoint else None

    def log(self, rows: list[Row], known: int = 0) -> None:
        """metrics.csv, made anew from all rows; those after the first `known` go to TensorBoard."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        checkpoint.replace(self.folder / "metrics.csv", text.getvalue().encode())
        if self._events is None and rows[known:]:
            self._events = self._writer(rows[known]["env_steps"])
        if not self._events:
            return
        for row in rows[known:]:
            for name, value in row.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(f"{row['phase']}/{name}", value, row["env_steps"])
        self._events.flush()

    def summarise(self, summary: Mapping[str, Any]) -> None:
        text = json.dumps(summary, indent=2) + "\n"
        checkpoint.replace(self.folder / "summary.json", text.encode())

    def close(self) -> None:
        if self._events:
            self._events.close()

    def _writer(self, step: int) -> Any:
        """Events of an interrupted run that lie behind the checkpoint are purged; False where there is no writer."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.say('no TensorBoard events: pip install "elites[runs]" brings what they need')
            return False
        return SummaryWriter(str(self.folder), purge_step=step)
