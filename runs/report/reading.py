"""Reads the folders of runs."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from elites import config
from elites.runs.conversion import settings_converted
from elites.runs.kinds import KIND
from elites.runs.report.columns import COLUMNS

Row = dict[str, float]
NEEDED, MODEL = ("env_steps", "return"), ("model_rmse", "model_coverage_90")  # columns of metrics.csv


@dataclass(frozen=True)
class Result:
    """A run's folder, read. settings: flat, without the seed. summary: if the run has not ended, of its rows so far."""

    folder: Path
    anchor: str
    settings: dict[str, str]
    seed: str
    rows: list[Row]
    summary: Row
    ended: bool

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def who(self) -> str:
        """Its planner, or its agent if that learns without a model."""
        return self.settings.get("planner.name", self.settings.get("agent.name", "planner")).rpartition(":")[2]


def read(folder: Path, anchor: str) -> Result:
    files = [folder / name for name in ("config.yaml", "metrics.csv", "summary.json")]
    if not files[0].exists():
        raise ValueError(f"{folder}: expected the folder of a run, found no config.yaml in it")
    settings = flat(settings_converted(config.load(files[0])))
    settings.pop(KIND, None)  # planner or agent tell the same, and old runs have no kind
    rows = metrics(files[1]) if files[1].exists() else []
    summary = summarised(files[2]) if files[2].exists() else {}
    ended = bool(summary) and (not rows or rows[-1]["env_steps"] <= summary.get("env_steps", math.inf))
    return Result(folder, anchor, settings, settings.pop("seed", "—"), rows, summary if ended else so_far(rows), ended)


def flat(value: Any, path: str = "") -> dict[str, str]:
    """A nested mapping as one with keys such as planner.cold.samples."""
    if isinstance(value, dict) and value:
        parts = (flat(item, f"{path}.{key}" if path else str(key)) for key, item in value.items())
        return {key: text for part in parts for key, text in part.items()}
    return {path: value if isinstance(value, str) else json.dumps(value, default=str)}


def metrics(path: Path) -> list[Row]:
    """A row for every ended episode or generation, and every evaluation. Figures that are not finite are left out."""
    rows: list[Row] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for cells in csv.DictReader(file, strict=True):
                if None in cells or None in cells.values():
                    raise ValueError("expected as many cells as in the header")
                if "episodes" in cells:  # a generation: all episodes so far
                    cells["episode"] = cells["episodes"]
                evaluated = cells.get("phase") in ("evaluation", "final")
                needed = NEEDED if evaluated else ("episode", *NEEDED)
                numbers = {key: float(cells[key]) for key in (*needed, *MODEL) if cells.get(key)}
                row = {key: value for key, value in numbers.items() if math.isfinite(value)}
                if not {*needed} <= row.keys():
                    raise ValueError(f"expected numbers for {', '.join(needed)}")
                if evaluated:
                    row["evaluation"] = row.pop("return")
                rows.append(row | {"random": float(cells.get("phase") == "random")})
        if not rows:
            raise ValueError("expected at least one row")
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: damaged after {len(rows)} rows: {error}") from None
    return rows


def summarised(path: Path) -> Row:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {column.key: float(found[column.key]) for column in COLUMNS if found.get(column.key) is not None}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged: {error}") from None


def so_far(rows: list[Row]) -> Row:
    planned = [row["return"] for row in rows if "return" in row and not row["random"]]
    steps = {"env_steps": rows[-1]["env_steps"]} if rows else {}
    return steps | ({"best_return": max(planned), "last_three_mean": fmean(planned[-3:])} if planned else {})
