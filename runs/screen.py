"""The observer that prints: a line for each episode or evaluation, and a status line below them."""

from __future__ import annotations

from collections.abc import Sequence

from elites.cli import Screen
from elites.networks import library
from elites.runs.observers import Observer, Status, Watched
from elites.runs.progress import Row

EVERY_S = 0.05  # between two status lines; the eye sees no more


class OnScreen(Observer):
    """Prints a run's progress. An agent's figures come from its rows alone."""

    speaks = True

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._wall_s, self._next_s = 0.0, 0.0

    def began(self, run: Watched) -> None:
        self._run = run
        engine = library.engine(run.agent.rng.device)
        self.screen.line(f"{run.env} in {run.folder}; engine: {engine}")

    def tell(self, text: str) -> None:
        self.screen.warn(text)

    def row(self, row: Row) -> None:
        along = self._run.schedule.along
        number = row.get("generation", row.get("episode", 1) - 1)
        now = self._run.schedule.progress(number, row["env_steps"])
        text = f"{now}  {row['phase']:<10}"
        if "generation" in row and row["phase"] == "learning":
            return  # the status line shows it
        if "worst" in row:
            spread = f"return {row['return']:9.2f}  ({row['worst']:.1f} to {row['best']:.1f})"
            self.screen.line(f"{text}  {spread}  {elapsed(self._wall_s)}")
        elif along == "episode":
            text += f"  {row['length']:5d} steps  return {row['return']:9.2f}  {row['steps_per_s']:7.1f} steps/s"
            self.screen.line(text + acting(row.get("act_ms")) + figures(row, self._run.agent.TOLD))

    def status(self, status: Status) -> None:
        self._wall_s = status.wall_s
        if status.wall_s < self._next_s:
            return
        self._next_s = status.wall_s + EVERY_S
        text = status.text
        if not text:
            now = self._run.schedule.progress(status.episode, status.env_steps)
            text = f"{now}  {status.phase:<10}  {status.length:5d} steps  return {status.total:9.2f}"
            text += acting(status.act_ms)
        self.screen.status(f"{text}  {elapsed(status.wall_s)}")


def acting(ms: float | None) -> str:
    return "" if ms is None else f"  act {ms:.0f} ms"


def figures(row: Row, names: Sequence[str]) -> str:
    """The agent's figures of these names, in three digits: `  model_rmse 0.0123`."""
    return "".join(f"  {name} {row[name]:.3g}" for name in names if name in row)


def elapsed(wall_s: float) -> str:
    seconds = int(wall_s)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
