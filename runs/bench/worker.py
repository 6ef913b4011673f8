"""One contender in its own process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file

from elites import cli
from elites.runs.bench.measures import Floor, keep_to, memory, now
from elites.runs.bench.ours import VARIANTS, ours
from elites.runs.bench.peers import PEERS
from elites.runs.bench.setting import Accounted, Contender, Setting


def serve(contender: Contender, setting: Setting, folder: Path) -> None:
    """Answers each input line with a line of JSON: the first answer is its memory, each later one is for one plan."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print to stderr, so only answers go to stdout
    keep_to(setting.threads)  # before XLA counts the cores
    torch.manual_seed(0)  # for libraries that use the global generator
    state = load_file(folder / "model.safetensors", setting.device)
    observations, floor = iter(state.pop("observations")), Floor(setting, state)
    contend = PEERS[contender.by].contend if contender.by in PEERS else ours

    if not sys.stdin.readline():  # the parent has gone
        return
    plan, held, peak = memory(
        lambda: contend(contender, setting, state), lambda plan: plan(next(observations)), setting.device
    )
    if isinstance(plan, Accounted):
        held, peak = plan.held, plan.peak
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
    """The contender's process, as its parent sees it."""

    def __init__(self, contender: Contender, setting: Setting, folder: Path) -> None:
        self.contender, self.log = contender, folder / f"{' '.join(contender)}.log"
        order = json.dumps([contender, asdict(setting), str(folder)])
        environment = (PEERS | VARIANTS)[contender.by].environment
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "elites.runs.bench.worker", order],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | environment | {"OMP_NUM_THREADS": str(setting.threads), "KINETO_LOG_LEVEL": "99"},
                start_new_session=True,  # Ctrl-C reaches only the parent
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
            *_, why = ["no reason given", *re.findall(r"^\S.*", self.log.read_text(), re.MULTILINE)]
            raise Died(f"{', '.join(self.contender)}: ended with exit code {self.process.wait()}: {why}")
        return cast(dict[str, float], json.loads(answer))


def main() -> None:
    contender, setting, folder = json.loads(sys.argv[1])
    serve(Contender(*contender), Setting(**setting), Path(folder))


if __name__ == "__main__":
    cli.run(main)
