"""Rows of figures that a benchmark adds to a CSV file, one for each run that has ended."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str]


class Kept:
    """The rows of a file. Runs that are there already need not run again."""

    def __init__(self, path: Path, fields: Sequence[str]) -> None:
        self.path, self.fields = path, fields

    def rows(self, **where: str) -> list[Row]:
        """All rows, or those with these values."""
        found = list(csv.DictReader(self.path.read_text().splitlines())) if self.path.exists() else []
        return [row for row in found if where.items() <= row.items()]

    def add(self, row: Row) -> None:
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.fields, lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow(row)
