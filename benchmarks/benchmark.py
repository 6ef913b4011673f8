"""How long one plan takes and what memory it needs: every planner here, other libraries, and the machine's own limit.

    make bench
    python benchmarks/benchmark.py --planner cem cem_gd --size 4,1 --by torch mbrl-lib --rounds 5
    python benchmarks/benchmark.py --reference torch --noise independent common --json > benchmark.json

All plan through one model, for one reward, from the same observations: 5 members of 3 × 200 with SiLU, 45 steps, 20
particles, float32. Each has a process of its own; they plan one at a time, in turn, so that a noisy machine hits all
alike. What the columns mean: docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from contenders import (
    EVERYONE,
    LONG,
    PEERS,
    PLANS,
    SIZES,
    VARIANTS,
    Contender,
    Setting,
    State,
    Work,
    absent,
    ensemble,
    given,
    ours,
    through,
)
from safetensors.torch import load_file, save_file
from torch.profiler import ProfilerActivity, profile, record_function

from elites import cli
from elites.planners import PLANNERS

# --- what is measured -------------------------------------------------------------------------------------------------

T = TypeVar("T")


def memory(make: Callable[[], T], use: Callable[[T], object], device: str) -> tuple[T, int, int]:
    """What was made, the bytes it holds between plans, and how far a plan goes above them, by the allocator's account.

    Held is what was allocated since before `make` and not freed by the end of a first `use`; the peak is of a second.
    """
    if torch.device(device).type == "cuda":
        before = torch.cuda.memory_allocated(device)
        made = make()
        use(made)
        held = torch.cuda.memory_allocated(device) - before
        torch.cuda.reset_peak_memory_stats(device)
        use(made)
        return made, held, torch.cuda.max_memory_allocated(device) - before - held
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        made = make()
        use(made)
        gc.collect()
        with record_function("second use"):
            use(made)
    live = held = peak = 0
    events: Any = profiler.profiler and profiler.profiler.kineto_results
    for event in sorted(events.events(), key=lambda event: event.start_ns()):
        if event.name() == "second use":
            held = peak = live
        elif event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return made, held, peak - held


def now(device: str) -> float:
    """The time, once the device has done what it was asked for."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Floor:
    """A plan's matrix products and nothing else: what is left when all around them costs nothing."""

    def __init__(self, setting: Setting, state: State) -> None:
        self.setting, self.layers = setting, ensemble(setting, state).mlp.layers()

    def operations(self, work: Work) -> int:
        """2 · rows · Σ in · out for each model step; the way back to the inputs has as many again."""
        each = 2 * sum(weight.shape[1] * weight.shape[2] for weight, *_ in self.layers)
        steps = sum(count * rows * (1 + gradient) for (rows, gradient), count in work.items())
        return each * self.setting.horizon * steps

    def seconds(self, work: Work) -> float:
        """At the rate at which the machine now does products of these shapes."""
        step = {rows: self.step(rows) for rows, _ in work}
        return self.setting.horizon * sum(step[rows] * (1 + gradient) * n for (rows, gradient), n in work.items())

    def step(self, rows: int) -> float:
        """The seconds of one model step's products: (M, rows / M, in) × (M, in, out) for each layer."""
        weight = self.layers[0].weight
        x = torch.randn(len(weight), rows // len(weight), weight.shape[1], device=weight.device)
        through(x, self.layers, lambda x: x)
        repeats = max(3, 4000 // rows)
        began = now(self.setting.device)
        for _ in range(repeats):
            through(x, self.layers, lambda x: x)
        return (now(self.setting.device) - began) / repeats


def paired(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the ratios of two series, round by round."""
    return float(np.median([a / b for a, b in zip(numerators, denominators, strict=True)]))


# --- one contender, in a process of its own ---------------------------------------------------------------------------


def serve(contender: Contender, setting: Setting, folder: Path) -> None:
    """A line in is its turn, a line of JSON out the answer: its memory at first, and then the next plan each time."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)  # for those that draw from the global generator
    state = load_file(folder / "model.safetensors", setting.device)
    observations, floor = iter(state.pop("observations")), Floor(setting, state)
    contend = PEERS[contender.by].contend if contender.by in PEERS else ours

    if not sys.stdin.readline():  # whoever asks has gone
        return
    plan, held, peak = memory(
        lambda: contend(contender, setting, state), lambda plan: plan(next(observations)), setting.device
    )
    floor.seconds(plan(next(observations)))
    print(json.dumps({"held": held, "peak": peak}), file=answers, flush=True)
    for observation, _ in zip(observations, sys.stdin, strict=False):
        began = now(setting.device)
        work = plan(observation)
        answer = {"seconds": now(setting.device) - began, "floor": floor.seconds(work)}
        answer |= {"operations": floor.operations(work), "rows": sum(rows * n for (rows, _), n in work.items())}
        print(json.dumps(answer), file=answers, flush=True)


class Died(Exception):
    pass


class Worker:
    """That process, seen from here."""

    def __init__(self, contender: Contender, setting: Setting, folder: Path) -> None:
        self.contender, self.log = contender, folder / f"{' '.join(contender)}.log"
        order = json.dumps([contender, asdict(setting), str(folder)])
        environment, _ = VARIANTS.get(contender.by, VARIANTS["torch"])
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "--worker", order],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | environment | {"OMP_NUM_THREADS": str(setting.threads), "KINETO_LOG_LEVEL": "99"},
                start_new_session=True,  # Ctrl-C is for us
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()

    def turn(self) -> dict[str, float]:
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            print(file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            *_, why = ["no word of why", *re.findall(r"^\S.*", self.log.read_text(), re.MULTILINE)]
            raise Died(f"{', '.join(self.contender)}: ended with exit code {self.process.wait()}: {why}")
        return cast(dict[str, float], json.loads(answer))


# --- all of them, in turn ---------------------------------------------------------------------------------------------

Answers = dict[str, list[float]]  # of one contender: an entry for every round; one alone of what it holds, and its peak


def in_turn(contenders: Sequence[Contender], setting: Setting, screen: cli.Screen) -> dict[Contender, Answers]:
    """One plan of each in every round, in an order of its own; one that dies is left out, with a line."""
    state, observations = given(setting)
    found: dict[Contender, Answers] = {one: {} for one in contenders}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        save_file({**state, "observations": observations}, Path(name) / "model.safetensors")
        workers = {one: stack.enter_context(Worker(one, setting, Path(name))) for one in contenders}
        for number in range(1 + setting.rounds):  # the first is of making and memory
            for one in random.Random(number).sample(list(found), len(found)):
                where = f"{setting.observation},{setting.action}: round {number} of {setting.rounds}"
                screen.status(f"{where}  {', '.join(one)}")
                try:
                    answer = workers[one].turn()
                except Died as died:
                    screen.warn(f"benchmark: {died}")
                    del found[one]
                    continue
                for key, value in answer.items():
                    found[one].setdefault(key, []).append(value)
                time.sleep(0.02)  # so long its threads may look out for more to do, on a core each
    return found


def reference_of(one: Contender, by: str, found: dict[Contender, Answers]) -> Answers | None:
    """The same plan by whom we compare with; where it has none, its CEM of as many candidates."""
    for same in (one._replace(by=by), Contender(one.planner, by), Contender(f"cem {PLANS[one.planner][0]}", by)):
        if same in found:
            return found[same]
    return None


def rows_of(found: dict[Contender, Answers], setting: Setting, by: str) -> list[dict[str, Any]]:
    rows = []
    for one, answers in found.items():
        reference = reference_of(one, by, found)
        low, middle, high = (float(q) for q in 1e3 * np.quantile(answers["seconds"], [0.25, 0.5, 0.75]))
        row: dict[str, Any] = {"size": [setting.observation, setting.action], **one._asdict()}
        row["rollouts"] = float(np.median(answers["rows"])) / setting.particles
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


# --- the command line -------------------------------------------------------------------------------------------------


def machine(device: str) -> dict[str, Any]:
    """What the figures are of: the processor, and the versions."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name, flags = (re.search(rf"^{key}\s*: (.*)$", about, re.MULTILINE) for key in ("model name", "flags"))
    wide = [flag for flag in (flags[1].split() if flags else []) if flag.startswith(("avx", "fma", "amx"))]
    found = {"cpu": name[1] if name else platform.processor(), "cores": os.cpu_count(), "flags": wide}
    found |= {} if device == "cpu" else {"gpu": torch.cuda.get_device_name(device)}
    installed = ["torch", *(peer.package for by, peer in PEERS.items() if not absent(by, device))]
    return (
        found | {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in installed}
    )


def settings_of(args: argparse.Namespace) -> list[Setting]:
    """One for each size; what is wrong with the arguments is said before anything is run."""
    known = {"planner": list(PLANNERS), "by": EVERYONE, "noise": ["independent", "common"], "reference": EVERYONE}
    for name, choices in known.items():
        for text in np.atleast_1d(getattr(args, name)).tolist():
            if text not in choices:
                raise ValueError(f"--{name}: expected {', '.join(choices[:-1])} or {choices[-1]}, got {text!r}")
    for text in args.size:
        if not re.fullmatch(r"\d+,\d+", text):
            raise ValueError(f"--size: expected two numbers such as 4,1, got {text!r}")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", args.device) or (args.device != "cpu" and not torch.cuda.is_available()):
        raise ValueError(f"--device: expected cpu, or cuda where there is one, got {args.device!r}")
    if args.out:
        args.out.touch()
    sizes = [[int(number) for number in text.split(",")] for text in args.size]
    same = {key: getattr(args, key) for key in ("members", "particles", "horizon", "rounds", "threads", "device")}
    return [Setting(observation, action, **same) for observation, action in sizes]


def contenders_of(args: argparse.Namespace, present: Sequence[str]) -> list[Contender]:
    """Ours with every plan asked for; of other libraries what is compared with them."""
    asked = [name for name in PLANS if name.split()[0] in args.planner and (args.cold or name not in LONG)]
    budgets, found = {PLANS[name][0] for name in asked}, []
    for name, (budget, _) in PLANS.items():
        for by in present:
            if by in VARIANTS and name in asked:
                found += [Contender(name, by, noise) for noise in args.noise]
            elif by in PEERS and name in PEERS[by].plans and budget in budgets:
                found.append(Contender(name, by))
    return found


def together(plan: str, contenders: Sequence[Contender], reference: str) -> list[Contender]:
    """Who takes turns: all that have this plan, and whom they are compared with."""
    found, cem = [one for one in contenders if one.planner == plan], Contender(f"cem {PLANS[plan][0]}", reference)
    return found if cem not in contenders or reference in [one.by for one in found] else [*found, cem]


def compare(args: argparse.Namespace) -> None:
    settings, screen = settings_of(args), cli.Screen(quiet=args.quiet)
    left_out = {by: why for by in args.by if (why := absent(by, args.device))}
    for by, why in left_out.items():
        screen.line(f"benchmark: {by} is left out: {why}")
    contenders = contenders_of(args, [by for by in args.by if by not in left_out])
    rows: list[dict[str, Any]] = []
    for setting in settings:
        part: list[dict[str, Any]] = []
        alive = contenders
        for plan in dict.fromkeys(one.planner for one in contenders):
            group = together(plan, alive, args.reference)
            found = in_turn(group, setting, screen)
            alive = [one for one in alive if one in found or one not in group]
            part += [row for row in rows_of(found, setting, args.reference) if row["planner"] == plan]
        rows += part
        if not args.json:
            title = f"{'### ' * args.markdown}{setting.observation} observations, {setting.action} actions"
            print(f"{title}\n\n{table(part, args.reference, args.markdown)}\n", flush=True)
    document: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/benchmark.py", *sys.argv[1:]]),
        "rows": rows,
    }
    document |= {"machine": machine(args.device), "left_out": left_out, "reference": args.reference}
    document["settings"] = {
        key: value for key, value in asdict(settings[0]).items() if key not in ("observation", "action")
    }
    if args.out:
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    if args.json:
        print(json.dumps(document))
    if len(rows) < len(contenders) * len(settings):
        sys.exit(1)  # some died


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planner", nargs="+", default=list(PLANNERS), metavar="NAME", help="ours: cem, cem_gd, …")
    parser.add_argument("--size", nargs="+", default=SIZES, metavar="S,A", help="of observations and actions")
    parser.add_argument("--by", nargs="+", default=EVERYONE, metavar="NAME", help=", ".join(EVERYONE))
    parser.add_argument("--noise", nargs="+", default=["independent"], metavar="KIND", help="of ours; common, too")
    parser.add_argument("--reference", default="mbrl-lib", metavar="NAME", help="of --by: whom to compare with")
    parser.add_argument("--cold", action="store_true", help="plans of 5 × 3000 too, such as CEM-GD's first")
    for name in ("members", "particles", "horizon", "rounds"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Setting, name))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--markdown", action="store_true", help="the tables as the docs have them")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the JSON document, beside the tables")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        contender, setting, folder = json.loads(args.worker)
        serve(Contender(*contender), Setting(**setting), Path(folder))
    else:
        compare(args)


if __name__ == "__main__":
    cli.run(main)
