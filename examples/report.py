"""Runs side by side, in one HTML page that holds everything it shows.

    python examples/report.py outputs/*
    python examples/report.py outputs/swingup-cem-0 outputs/swingup-icem-0 --out report.html

Runs whose settings differ in nothing but the seed are one group and share a colour. A run that has not ended is shown
as far as it got.
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any, NamedTuple

from elites import cli, config

Row = dict[str, float]
Point = tuple[float, float]


def short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


class Column(NamedTuple):
    heading: str
    key: str  # in summary.json
    best: Callable[[Iterable[float]], float] | None  # which of the values stands out
    form: Callable[[float], str] = short


COLUMNS = [
    Column("final evaluation", "final_evaluation_mean", max),
    Column("best return", "best_return", max),
    Column("mean of last three", "last_three_mean", max),
    Column("plan, median ms", "plan_ms_median", min),
    Column("plan, 95 % ms", "plan_ms_p95", min),
    Column("peak memory, MB", "peak_memory_mb", min),
    Column("env steps", "env_steps", None, whole),
    Column("wall time", "wall_s", min, lambda seconds: str(timedelta(seconds=round(seconds)))),
    Column("fallbacks", "fallbacks", min, whole),
]
NEEDED, MODEL = ("env_steps", "return"), ("model_rmse", "model_coverage_90")  # of metrics.csv
PICTURES = [
    (
        "predictions.png",
        "The last learning episode: what came, and what the model foresaw, open loop",
        '<img src="data:image/png;base64,{}" alt="{}">',
    ),
    (
        "best.mp4",
        "The best planned episode",
        '<video src="data:video/mp4;base64,{}" aria-label="{}" controls muted loop playsinline></video>',
    ),
]

# --- what is in the folders -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """A run's folder, read. settings: flat, without the seed; summary: of the rows so far where it has not ended."""

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
        """Its planner, or its agent where that learns without a model."""
        return self.settings.get("planner.name", self.settings.get("agent.name", "planner")).rpartition(":")[2]


def read(folder: Path, anchor: str) -> Result:
    files = [folder / name for name in ("config.yaml", "metrics.csv", "summary.json")]
    if not files[0].exists():
        raise ValueError(f"{folder}: expected the folder of a run, found no config.yaml in it")
    settings = flat(config.load(files[0]))
    rows = metrics(files[1]) if files[1].exists() else []
    summary = summarised(files[2]) if files[2].exists() else {}
    ended = bool(summary) and (not rows or rows[-1]["env_steps"] <= summary.get("env_steps", math.inf))
    return Result(folder, anchor, settings, settings.pop("seed", "—"), rows, summary if ended else so_far(rows), ended)


def flat(value: Any, path: str = "") -> dict[str, str]:
    """planner.cold.samples and the like."""
    if isinstance(value, dict) and value:
        parts = (flat(item, f"{path}.{key}" if path else str(key)) for key, item in value.items())
        return {key: text for part in parts for key, text in part.items()}
    return {path: value if isinstance(value, str) else json.dumps(value, default=str)}


def metrics(path: Path) -> list[Row]:
    """A row for every episode that ended and every evaluation; what is not a finite number is left out."""
    rows: list[Row] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for cells in csv.DictReader(file, strict=True):
                if None in cells or None in cells.values():
                    raise ValueError("expected as many cells as the header has")
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
            raise ValueError("expected at least one")
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


# --- groups: the same settings, other seeds ---------------------------------------------------------------------------


class Group(NamedTuple):
    label: str
    hue: str
    runs: list[Result]

    def __str__(self) -> str:
        return f'<i style="{self.hue}"></i>{escape(self.label)}'


def differing(settings: Iterable[dict[str, str]]) -> list[str]:
    settings = list(settings)
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def grouped(results: list[Result]) -> list[Group]:
    """Of one environment. The label is who acts and, where several groups have the same, what sets them apart."""
    alike: dict[frozenset[tuple[str, str]], list[Result]] = {}
    for result in results:
        alike.setdefault(frozenset(result.settings.items()), []).append(result)
    groups = []
    for number, runs in enumerate(alike.values()):
        who, settings = runs[0].who, runs[0].settings
        apart = differing(result.settings for result in results if result.who == who)
        told = [f"{key.removeprefix('planner.').removeprefix('agent.')} {settings.get(key, '—')}" for key in apart]
        label = ", ".join([who, *told]) if len(told) < 4 else f"{who}, settings {number + 1}"
        groups.append(Group(label, f"--hue:{(255 + 137.5 * number) % 360}", runs))  # the golden angle keeps hues apart
    return groups


# --- charts -----------------------------------------------------------------------------------------------------------


class Curve(NamedTuple):
    name: str
    style: str
    points: list[Point]
    random: int  # so many of the points are of random actions


def curves(groups: list[Group], key: str, along: str = "episode") -> list[Curve]:
    """One for each run and, where a group has several, their mean as far as all of them have come."""
    found = []
    for group in groups:
        several = []
        for run in group.runs:
            points = [(row[along], row[key]) for row in run.rows if key in row]
            random = sum(row["random"] == 1 for row in run.rows if key in row)
            several += [Curve(run.name, group.hue, points, random)] if points else []
        if len(several) > 1:
            each = [dict(curve.points) for curve in several]
            mean = [(x, fmean(of[x] for of in each)) for x in each[0] if all(x in of for of in each)]
            found += [curve._replace(style=f"{group.hue};opacity:.35;stroke-width:1") for curve in several]
            found.append(Curve(f"{group.label}, mean of {len(each)} seeds", group.hue, mean, several[0].random))
        found += several if len(several) == 1 else []
    return found


def ticks(low: float, high: float, most: int, least: float = 0) -> list[float]:
    """Round numbers from low to high, no closer than `least`."""
    power = 10 ** math.floor(math.log10((high - low) / most))
    step = next(power * m for m in (1, 2, 5, 10, 20, 50) if power * m >= max(least, (high - low) / most))
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def chart(
    title: str,
    drawn: list[Curve],
    width: int,
    height: int,
    *within: float,
    level: float | None = None,
    along: str = "episode",
) -> str:
    """SVG. within: values that the axis shows in any case; level: a value that is marked."""
    if not any(curve.points for curve in drawn):
        return f"<figure><figcaption>{title}: nothing so far</figcaption></figure>"
    xs = [x for curve in drawn for x, _ in curve.points]
    ys = [*within, *(y for curve in drawn for _, y in curve.points)]
    beside = max(0.5, 0.01 * (max(xs) - min(xs)))
    left, right = min(xs) - beside, max(xs) + beside
    margin = 0.05 * (max(ys) - min(ys)) or 0.05 * abs(ys[0]) or 1.0
    low, high = min(ys) - margin, max(ys) + margin

    def across(x: float) -> str:
        return f"{56 + (x - left) / (right - left) * (width - 62):.1f}"

    def down(y: float) -> str:
        return f"{10 + (high - y) / (high - low) * (height - 50):.1f}"

    def line(points: list[Point], kind: str) -> str:
        return f'<polyline class="{kind}" points="{" ".join(f"{across(x)},{down(y)}" for x, y in points)}"/>'

    names = escape(", ".join(curve.name for curve in drawn))
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}, by {along}: {names}">']
    for y in ticks(low, high, 5):
        parts.append(line([(left, y), (right, y)], "grid") + f'<text class="y" x="49" y="{down(y)}">{y:g}</text>')
    for x in ticks(left, right, 8, least=1):
        parts.append(f'<text class="x" x="{across(x)}" y="{height - 22}">{x:,.10g}</text>')
    parts.append(f'<text class="x" x="{width / 2 + 25}" y="{height - 3}">{along}</text>')
    parts += [line([(left, level), (right, level)], "level")] if level is not None else []
    for name, style, points, random in drawn:
        first = line(points[: random + 1], "random") if random else ""
        parts.append(f'<g style="{style}">{first}{line(points[random:], "")}')
        for x, y in points:
            tip = f"{escape(name)}, {along} {x:,g}: {short(y)}"
            parts.append(f'<circle cx="{across(x)}" cy="{down(y)}" r="2.5"><title>{tip}</title></circle>')
        parts.append("</g>")
    return f"<figure><figcaption>{title}</figcaption>{''.join(parts)}</svg></figure>"


# --- the page ---------------------------------------------------------------------------------------------------------

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>$title</title><style>
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2330; --soft: #5b6472; --rule: #e3e6eb; --light: .58 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171c; --ink: #e4e7ec; --soft: #9aa3b1; --rule: #2d343e; --light: .74 } }
[style] { --colour: oklch(var(--light) .16 var(--hue)) }
body { margin: 0 auto; padding: 1rem 1rem 4rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1, h2, h3 { margin: 2.5rem 0 .5rem; line-height: 1.25; overflow-wrap: anywhere } h1 { margin-top: .5rem }
a { color: inherit } p, small, figcaption, thead, text { color: var(--soft) } small, figcaption { font-size: .85rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .4rem 0 .4rem 1.5rem; text-align: right; border-bottom: 1px solid var(--rule); font-weight: 400 }
th:first-child { position: sticky; left: 0; padding-left: 0; text-align: left; background: var(--paper) }
thead th { vertical-align: bottom } td { white-space: nowrap } td b { box-shadow: 0 2px var(--ink) }
th small { display: block; min-width: 10rem }
i { display: inline-block; width: .7em; height: .7em; margin-right: .4em; border-radius: 1em;
  background: var(--colour) }
ul { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; margin: 1.5rem 0 .5rem; list-style: none }
.beside { display: grid; gap: 1rem 1.5rem; grid-template-columns: 2fr 1fr; align-items: start }
figure { margin: 0; min-width: 0 } figcaption { padding: .25rem 0 } .charts figure:first-child { grid-row: span 2 }
svg { display: block; width: 100%; overflow: visible; stroke-width: 2 } text { font-size: 13px; fill: currentColor }
.x { text-anchor: middle } .y { text-anchor: end; dominant-baseline: central } circle { fill: var(--colour) }
polyline { fill: none; stroke: var(--colour); stroke-linejoin: round } .random, .level { stroke-dasharray: 4 4 }
.grid, .level { stroke: var(--rule); stroke-width: 1 } .level { stroke: var(--soft) }
details { margin: 1.5rem 0 } summary { cursor: pointer }
img, video { display: block; width: 100%; border-radius: 6px; background: #fff }
@media (max-width: 45rem) {
  .beside { grid-template-columns: minmax(0, 1fr) } .charts figure:first-child text { font-size: 18px } }
</style></head><body><h1>$title</h1>
<p>Returns of episodes are dashed while the actions are random. Where settings were run with several seeds, thin lines
are the seeds and the thick one is their mean, as far as all of them have come. A point tells its value to the pointer.
The best figure of a column is bold.</p>
$body</body></html>
""")


def table(head: Iterable[str], rows: Iterable[list[str]]) -> str:
    """Of cells that are HTML; the first of a row is its heading."""
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = [f'<th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}' for first, *rest in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def overview(groups: list[Group]) -> str:
    runs = [(group, run) for group in groups for run in group.runs]
    rows = []
    for group, run in runs:
        episodes = sum("return" in row for row in run.rows)
        ended = "" if run.ended else f", unfinished: {episodes} episodes so far"
        link = f'<a href="#{run.anchor}">{escape(run.name)}</a>'
        rows.append([f"{link}<small>{group}{ended}</small>", escape(run.seed)])
    columns = [column for column in COLUMNS if any(column.key in run.summary for _, run in runs)]
    for _, key, best, form in columns:
        values = [run.summary.get(key, math.nan) for _, run in runs]
        known = {value for value in values if math.isfinite(value)}
        top = best(known) if best and len(known) > 1 else None
        for row, value in zip(rows, values, strict=True):
            text = form(value) if value in known else "—"
            row.append(f"<b>{text}</b>" if value == top else text)
    return table(["run", "seed", *(column.heading for column in columns)], rows)


def differences(groups: list[Group]) -> str:
    settings = [group.runs[0].settings for group in groups]
    keys = differing(settings)
    if not keys:
        return ""
    rows = ([escape(key), *(escape(each.get(key, "—")) for each in settings)] for key in keys)
    start = "<details open>" if len(keys) <= 12 else "<details>"
    summary = f"<summary>What differs in the settings: {len(keys)} keys</summary>"
    return f"{start}{summary}{table(['key', *map(str, groups)], rows)}</details>"


def pictures(run: Result, group: Group) -> str:
    figures = []
    for name, caption, form in PICTURES:
        if (run.folder / name).exists():
            data = base64.b64encode((run.folder / name).read_bytes()).decode()
            shown = form.format(data, escape(f"{run.name}: {caption}"))
            figures.append(f"<figure>{shown}<figcaption>{caption}</figcaption></figure>")
    below = f'<div class="beside">{"".join(figures)}</div>' if figures else "<p>No pictures so far.</p>"
    return f'<h3 id="{run.anchor}"><i style="{group.hue}"></i>{escape(run.name)}</h3>{below}'


def section(env: str, results: list[Result]) -> str:
    groups = grouped(results)
    rmse, coverage = (curves(groups, key) for key in MODEL)
    evaluations = curves(groups, "evaluation", "env_steps")
    charts = [chart("Return", curves(groups, "return"), 640, 380)]
    if evaluations:
        charts = [chart("Return of evaluations", evaluations, 640, 380, along="step"), *charts]
    if rmse or coverage or not evaluations:
        charts += [
            chart("Held-out RMSE, in spreads of the targets", rmse, 320, 180, 0),
            chart("Held-out targets inside 90 % intervals", coverage, 320, 180, 0.5, 1, level=0.9),
        ]
    legend = "".join(f"<li>{group}</li>" for group in groups)
    return (
        f"<h2>{escape(env)}</h2>{overview(groups)}<ul>{legend}</ul>"
        f'<div class="beside charts">{"".join(charts)}</div>{differences(groups)}'
        + "".join(pictures(run, group) for group in groups for run in group.runs)
    )


def page(results: list[Result]) -> str:
    envs: dict[str, list[Result]] = {}
    for result in results:
        envs.setdefault(result.settings.get("env", "unknown environment"), []).append(result)
    count = "1 run" if len(results) == 1 else f"{len(results)} runs"
    title = escape(f"{count} in {', '.join(env.rpartition('/')[2] for env in envs)}")
    return PAGE.substitute(title=title, body="".join(section(env, runs) for env, runs in envs.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE.html")
    args = parser.parse_args()
    if not args.runs:
        raise ValueError("expected the folders of runs, for example outputs/*")
    text = page([read(folder, f"run-{number}") for number, folder in enumerate(dict.fromkeys(args.runs), start=1)])
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise OSError(f"{args.out}: cannot be written: {error.strerror or error}") from None
    print(args.out)


if __name__ == "__main__":
    cli.run(main)
