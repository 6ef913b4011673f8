"""A run's folder: its settings, its results, and its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from elites.runs.checkpoint import Checkpoints, written
from elites.runs.files import replace
from elites.runs.summary import Summary


class RunFolder:
    """Holds config.yaml, checkpoints/ and summary.json. Observers add metrics.csv, events, pictures and a film."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checkpoints = Checkpoints(path / "checkpoints")

    @classmethod
    def begin(cls, path: Path, settings: Mapping[str, Any]) -> RunFolder:
        """Begins a run in a new folder, or in one without a run."""
        if (path / "config.yaml").exists():
            raise ValueError(f"{path}: holds a run already; --resume {path} continues it")
        make_folder(path)
        folder = cls(path)
        folder.configure(settings)
        return folder

    @classmethod
    def resume(cls, path: Path) -> RunFolder:
        """Opens a folder with a run."""
        if not (path / "config.yaml").exists():
            raise ValueError(f"{path}: expected the folder of a run, found no config.yaml in it")
        return cls(path)

    def configure(self, settings: Mapping[str, Any]) -> None:
        text = yaml.safe_dump(dict(settings), sort_keys=False)
        replace(self.path / "config.yaml", text.encode())

    def save(self, state: Mapping[str, Any]) -> Path:
        return self._checkpoints.write(state)

    @property
    def last_checkpoint(self) -> Path | None:
        return max(written(self._checkpoints.folder), default=None)

    def load(self, refused: Callable[[str], None]) -> dict[str, Any] | None:
        """The newest intact checkpoint. None if the run stopped before its first. refused: see `Checkpoints`."""
        return self._checkpoints.newest(refused) if self.last_checkpoint else None

    def summarise(self, summary: Summary) -> None:
        text = json.dumps(summary.as_dict(), indent=2) + "\n"
        replace(self.path / "summary.json", text.encode())


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ValueError(f"{path}: expected a folder, found a file") from None
