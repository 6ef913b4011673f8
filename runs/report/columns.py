"""The table's columns: figures of a run's summary, and their format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import NamedTuple


def short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


class Column(NamedTuple):
    heading: str
    key: str  # in summary.json
    best: Callable[[Iterable[float]], float] | None  # picks the best of the values, which is bold
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
