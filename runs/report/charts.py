"""Curves of runs, drawn as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from statistics import fmean
from typing import NamedTuple

from elites.runs.report.columns import short
from elites.runs.report.groups import Group

Point = tuple[float, float]


class Curve(NamedTuple):
    name: str
    style: str
    points: list[Point]
    random: int  # number of points with random actions


def curves(groups: list[Group], key: str, along: str = "episode") -> list[Curve]:
    """A curve for each run. For a group of several runs, also their mean, up to the end of the shortest."""
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
    """Round numbers from low to high, at least `least` apart."""
    power = 10 ** math.floor(math.log10((high - low) / most))
    step = next(power * m for m in (1, 2, 5, 10, 20, 50) if power * m >= max(least, (high - low) / most))
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


@dataclass(frozen=True)
class Frame:
    """A picture's size, and the range of its axes: from left to right, from low to high."""

    width: int
    height: int
    left: float
    right: float
    low: float
    high: float

    @classmethod
    def around(cls, drawn: list[Curve], width: int, height: int, within: tuple[float, ...]) -> Frame:
        xs = [x for curve in drawn for x, _ in curve.points]
        ys = [*within, *(y for curve in drawn for _, y in curve.points)]
        beside = max(0.5, 0.01 * (max(xs) - min(xs)))
        margin = 0.05 * (max(ys) - min(ys)) or 0.05 * abs(ys[0]) or 1.0
        return cls(width, height, min(xs) - beside, max(xs) + beside, min(ys) - margin, max(ys) + margin)

    def x(self, value: float) -> str:
        return f"{56 + (value - self.left) / (self.right - self.left) * (self.width - 62):.1f}"

    def y(self, value: float) -> str:
        return f"{10 + (self.high - value) / (self.high - self.low) * (self.height - 50):.1f}"

    def line(self, points: list[Point], kind: str) -> str:
        return f'<polyline class="{kind}" points="{" ".join(f"{self.x(x)},{self.y(y)}" for x, y in points)}"/>'

    def level(self, value: float, kind: str) -> str:
        return self.line([(self.left, value), (self.right, value)], kind)

    def axes(self, along: str) -> list[str]:
        parts = []
        for y in ticks(self.low, self.high, 5):
            parts.append(self.level(y, "grid") + f'<text class="y" x="49" y="{self.y(y)}">{y:g}</text>')
        for x in ticks(self.left, self.right, 8, least=1):
            parts.append(f'<text class="x" x="{self.x(x)}" y="{self.height - 22}">{x:,.10g}</text>')
        return [*parts, f'<text class="x" x="{self.width / 2 + 25}" y="{self.height - 3}">{along}</text>']


def chart(
    title: str,
    drawn: list[Curve],
    width: int,
    height: int,
    *within: float,
    level: float | None = None,
    along: str = "episode",
) -> str:
    """A chart as SVG. within: values that the axis always shows. level: a value to mark."""
    if not any(curve.points for curve in drawn):
        return f"<figure><figcaption>{title}: nothing so far</figcaption></figure>"
    frame = Frame.around(drawn, width, height, within)
    names = escape(", ".join(curve.name for curve in drawn))
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}, by {along}: {names}">']
    parts += frame.axes(along)
    parts += [frame.level(level, "level")] if level is not None else []
    for name, style, points, random in drawn:
        first = frame.line(points[: random + 1], "random") if random else ""
        parts.append(f'<g style="{style}">{first}{frame.line(points[random:], "")}')
        for x, y in points:
            tip = f"{escape(name)}, {along} {x:,g}: {short(y)}"
            parts.append(f'<circle cx="{frame.x(x)}" cy="{frame.y(y)}" r="2.5"><title>{tip}</title></circle>')
        parts.append("</g>")
    return f"<figure><figcaption>{title}</figcaption>{''.join(parts)}</svg></figure>"
