"""Groups of runs: the same settings, other seeds."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import NamedTuple

from elites.runs.report.reading import Result


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
    """The groups of one environment. A label names the agent and, if several groups share it, their differences."""
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
