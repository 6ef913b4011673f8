"""The page: a section for each environment, with its table, charts, settings and pictures."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from html import escape

from elites.runs.report.charts import chart, curves
from elites.runs.report.columns import COLUMNS
from elites.runs.report.groups import Group, differing, grouped
from elites.runs.report.reading import MODEL, Result
from elites.runs.report.template import PAGE

PICTURES = [
    (
        "predictions.png",
        "The last learning episode: the real states, and the model's predictions, open loop",
        '<img src="data:image/png;base64,{}" alt="{}">',
    ),
    (
        "best.mp4",
        "The best planned episode",
        '<video src="data:video/mp4;base64,{}" aria-label="{}" controls muted loop playsinline></video>',
    ),
]


def table(head: Iterable[str], rows: Iterable[list[str]]) -> str:
    """A table of HTML cells. The first cell of a row is its heading."""
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
    summary = f"<summary>Differences in the settings: {len(keys)} keys</summary>"
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
    returns = curves(groups, "return")
    if evaluations:
        large = chart("Return of evaluations", evaluations, 640, 380, along="step")
        charts = [large, chart("Return", returns, 320, 260)]
    else:
        charts = [chart("Return", returns, 640, 380)]
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
