"""The pictures of an ended run: the returns, the model's predictions, the best episode as a film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.envs.registration import EnvSpec

from elites.agents.pets import PETS
from elites.runs.film import film
from elites.runs.foreseen import Foreseen, Segment, foreseen
from elites.runs.observers import Observer, Status, Watched
from elites.runs.progress import Best
from elites.runs.summary import PHASES, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2563eb", "#c2410c", "#9ca3af"
MOST = 4  # the most segments of an episode to show in one panel


class Pictures(Observer):
    """Writes returns.png, best.mp4 and, for PETS, predictions.png into the run's folder, or tells why it cannot."""

    def began(self, run: Watched) -> None:
        self._run = run

    def status(self, status: Status) -> None:
        self._last = status

    def ended(self, summary: Summary) -> None:
        run = self._run
        if not summary.finished:
            return
        self._show("drawing")
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            run.observers.tell('no plots: they need pip install "elites[runs]"')
        else:
            returns(run, run.folder / "returns.png")
            if isinstance(run.agent, PETS):
                predictions(run.agent, run, run.folder / "predictions.png")
        if run.best and run.spec:
            self._film(run.best, run.spec)

    def _film(self, best: Best, spec: EnvSpec) -> None:
        try:
            film(best, spec, self._run.folder / "best.mp4", self._show)
        except Exception as error:  # OpenGL and ffmpeg raise errors of many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self._run.observers.tell(f"no video: filming failed: {reason}")

    def _show(self, text: str) -> None:
        last = self._last
        self._run.observers.status(Status("pictures", last.episode, last.env_steps, last.wall_s, text=text))


def new_figure(width: float, height: float) -> Figure:
    """A figure without pyplot. So a user's own figures and backend stay untouched, and threads stay separate."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def returns(run: Watched, path: Path) -> None:
    from matplotlib.ticker import MaxNLocator

    along = run.schedule.along
    figure = new_figure(7, 3.6)
    axes = figure.subplots()
    for (name, phases), colour in zip(PHASES.items(), (GREY, BLUE, ORANGE), strict=True):
        rows = [row for row in run.rows if row["phase"] in phases]
        if not rows:
            continue
        x, y = [row[along] for row in rows], [row["return"] for row in rows]
        if "worst" in rows[0]:  # a row is the mean of several episodes
            ends = [row["worst"] for row in rows], [row["best"] for row in rows]
            axes.fill_between(x, *ends, color=colour, alpha=0.15, lw=0)
        few = len(rows) <= 50
        axes.plot(x, y, "o-" if few else "-", color=colour, label=name, lw=1.5 if few else 0.8, ms=4)
    axes.set(xlabel=along.replace("env_", ""), ylabel="return", title=f"{run.env}, seed {run.seed}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if run.rows:
        axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def predictions(agent: PETS, run: Watched, path: Path, most: int = 9) -> None:
    """Draws the last learning episode: the real states, and the model's open-loop predictions every `horizon` steps."""
    lengths = [row["length"] for row in run.rows if row["phase"] == "learning"]
    if not lengths:
        return
    found, horizon = foreseen(agent, lengths[-1]), agent.config.horizon
    ranked = found.ranked() if len(found.segments) > MOST else []
    shown = found.worst(min(most, 6) if ranked else most)
    names = {int(entry): "reward" if entry >= agent.observed else f"observation[{entry}]" for entry in shown}
    figure = excerpts(ranked, names) if ranked else whole(found, names)
    where = f", three of {len(ranked)} times in" if ranked else " of"
    some = f", the {len(shown)} of {found.size} entries foreseen worst" if len(shown) < found.size else ""
    title = f"{run.env}: open loop over {horizon} steps{where} the last learning episode{some}"
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)


def whole(found: Foreseen, names: dict[int, str]) -> Figure:
    """A panel for each entry, with the whole episode."""
    columns = 2 if len(names) in (2, 4) else min(3, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(4.2 * columns, 2.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
    for axes, (entry, name) in zip(grid.flat, names.items(), strict=False):
        draw_entry(axes, found.segments, entry)
        truth, margin = found.came[:, entry], 0.5 * found.spread[entry]
        axes.set_ylim(truth.min() - margin, truth.max() + margin)
        axes.set_title(name, fontsize=9)
    grid.flat[0].legend(fontsize=7)
    return figure


def excerpts(ranked: Sequence[Segment], names: dict[int, str]) -> Figure:
    """A row for each entry: the segments predicted best, median and worst. All panels of a row have the same scale."""
    shown = {"foreseen best": ranked[0], "the median": ranked[(len(ranked) - 1) // 2], "foreseen worst": ranked[-1]}
    figure = new_figure(4.2 * len(shown), 2.0 * len(names) + 0.8)
    grid = figure.subplots(len(names), len(shown), squeeze=False, sharex="col")
    for row, (entry, name) in zip(grid, names.items(), strict=True):
        reach = max(1e-6, *(float(np.ptp(came[:, entry])) for _, came, _ in shown.values()))
        for axes, segment in zip(row, shown.values(), strict=True):
            draw_entry(axes, [segment], entry)
            truth = segment[1][:, entry]
            middle = (truth.min() + truth.max()) / 2
            axes.set_ylim(middle - reach, middle + reach)
        row[0].set_ylabel(name)
    for axes, (which, (steps, *_)) in zip(grid[0], shown.items(), strict=True):
        axes.set_title(f"steps {steps[0]} to {steps[-1]}, {which}", fontsize=10)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return figure


def draw_entry(axes: Axes, segments: Sequence[Segment], entry: int) -> None:
    for number, (steps, came, particles) in enumerate(segments):
        low, middle, high = np.percentile(particles[:, :, entry], [5, 50, 95], axis=0)
        names = ("90 % of the particles", "their median", "what came") if number == 0 else (None,) * 3  # once
        axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, lw=0, label=names[0])
        axes.plot(steps, middle, color=BLUE, lw=1, label=names[1])
        axes.plot(steps, came[:, entry], color="black", lw=1.2, label=names[2])
    axes.grid(alpha=0.3)
