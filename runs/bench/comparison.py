"""Lets all contenders plan in turn, and makes the table of results."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import random
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from elites import cli
from elites.runs.bench.measures import paired
from elites.runs.bench.ours import LONG, PLANS, VARIANTS
from elites.runs.bench.peers import PEERS, absent
from elites.runs.bench.setting import Contender, Setting, given
from elites.runs.bench.worker import Died, Worker

Answers = dict[str, list[float]]  # of one contender: an entry for each round, but one entry for `held` and `peak`


def in_turn(contenders: Sequence[Contender], setting: Setting, screen: cli.Screen) -> dict[Contender, Answers]:
    """One plan of each contender in every round, in a random order. A contender that crashes is dropped with a line."""
    state, observations = given(setting)
    found: dict[Contender, Answers] = {one: {} for one in contenders}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        save_file({**state, "observations": observations}, Path(name) / "model.safetensors")
        workers = {one: stack.enter_context(Worker(one, setting, Path(name))) for one in contenders}
        for number in range(1 + setting.rounds):  # round 0 makes the planners and measures memory
            for one in random.Random(number).sample(list(found), len(found)):
                where = f"{setting.observation},{setting.action}: round {number} of {setting.rounds}"
                screen.status(f"{where}  {', '.join(one)}")
                try:
                    answer = workers[one].turn()
                except Died as died:
                    screen.warn(f"elites bench: {died}")
                    del found[one]
                    continue
                for key, value in answer.items():
                    found[one].setdefault(key, []).append(value)
                time.sleep(0.02)  # its threads may spin on the cores for this long
    return found


def reference_of(one: Contender, by: str, found: dict[Contender, Answers]) -> Answers | None:
    """The reference's answers for the same plan. If it has none, those of its CEM with as many candidates."""
    for same in (one._replace(by=by), Contender(one.planner, by), Contender(f"cem {PLANS[one.planner].budget}", by)):
        if same in found:
            return found[same]
    return None


def rows_of(found: dict[Contender, Answers], setting: Setting, by: str) -> list[dict[str, Any]]:
    rows = []
    for one, answers in found.items():
        reference = reference_of(one, by, found)
        low, middle, high = (float(q) for q in 1e3 * np.quantile(answers["seconds"], [0.25, 0.5, 0.75]))
        row: dict[str, Any] = {"size": [setting.observation, setting.action], **one._asdict()}
        row["rollouts"] = float(np.median(answers["rows"])) / (PLANS[one.planner].particles or setting.particles)
        row |= {"plan_ms_q1": low, "plan_ms_median": middle, "plan_ms_q3": high}
        row["speed_by_reference"] = reference and paired(reference["seconds"], answers["seconds"])
        row["time_by_floor"] = paired(answers["seconds"], answers["floor"])
        row["gflop"] = float(np.median(answers["operations"])) / 1e9
        row["floor_gflop_per_s"] = paired(answers["operations"], answers["floor"]) / 1e9
        row |= {f"{key}_mb": max(answers[key]) / 1e6 for key in ("held", "peak")}
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]], reference: str, markdown: bool) -> str:
    speed = f"speed / {reference}"
    lines = [["planner", "by", "noise", "rollouts", "plan, ms", "quartiles", speed, "time / floor", "memory, MB"]]
    for row in rows:
        digits = 0 if row["plan_ms_median"] >= 100 else 1
        low, middle, high = (f"{row[f'plan_ms_{name}']:.{digits}f}" for name in ("q1", "median", "q3"))
        ratio = "" if row["speed_by_reference"] is None else f"{row['speed_by_reference']:.2f}"
        line = [row["planner"], row["by"], row["noise"], f"{row['rollouts']:.0f}", middle, f"{low} – {high}", ratio]
        lines.append([*line, f"{row['time_by_floor']:.1f}", f"{row['held_mb']:.1f} + {row['peak_mb']:.1f}"])
    if markdown:
        lines.insert(1, ["---"] * 3 + ["---:"] * 6)
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([f"{x:{side}{w}}" for x, side, w in zip(line, "<<<>>>>>>", widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line) for line in padded)


def machine(device: str) -> dict[str, Any]:
    """The machine of the figures: the processor, and the versions."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name, flags = (re.search(rf"^{key}\s*: (.*)$", about, re.MULTILINE) for key in ("model name", "flags"))
    wide = [flag for flag in (flags[1].split() if flags else []) if flag.startswith(("avx", "fma", "amx"))]
    found = {"cpu": name[1] if name else platform.processor(), "cores": os.cpu_count(), "flags": wide}
    found |= {} if device == "cpu" else {"gpu": torch.cuda.get_device_name(device)}
    installed = ["torch", *(peer.package for by, peer in PEERS.items() if not absent(by, device))]
    return (
        found | {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in installed}
    )


def contenders_of(
    planners: Sequence[str], noises: Sequence[str], cold: bool, present: Sequence[str]
) -> list[Contender]:
    """This library's contenders for every plan asked for, and those of other libraries that compare with them."""
    asked = [name for name in PLANS if name.split()[0] in planners and (cold or name not in LONG)]
    budgets, found = {PLANS[name].budget for name in asked}, []
    for name, row in PLANS.items():
        for by in present:
            if by in VARIANTS and name in asked:
                found += [Contender(name, by, noise) for noise in noises]
            elif by in PEERS and name in PEERS[by].plans and row.budget in budgets:
                found.append(Contender(name, by))
    return found


def together(plan: str, contenders: Sequence[Contender], reference: str) -> list[Contender]:
    """The contenders that take turns: all with this plan, and the reference."""
    found, cem = [one for one in contenders if one.planner == plan], Contender(f"cem {PLANS[plan].budget}", reference)
    return found if cem not in contenders or reference in [one.by for one in found] else [*found, cem]
