"""The size of the code: lines and the longest function of each folder, and the files that a plan and an update run.

python benchmarks/house.py
python benchmarks/house.py --root ANOTHER_CHECKOUT     # only lines and functions
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import elites
from elites import Box, cli
from elites.agents import CGP, Agent, Transition
from elites.planners import CEM

HOUSE = Path(elites.__file__).parents[1]
FOLDERS = ("elites", "networks", "planners", "dynamics", "envs", "agents", "runs", "examples", "benchmarks", "tests")


def functions(file: Path) -> Iterator[tuple[int, str]]:
    """(lines, name) of every function in a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, node.name


def files_run(act: Callable[[], object]) -> list[str]:
    """The files of the package whose functions run."""
    found: set[str] = set()

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_filename.startswith(str(HOUSE)) and "site-packages" not in frame.f_code.co_filename:
            found.add(str(Path(frame.f_code.co_filename).relative_to(HOUSE)))

    sys.setprofile(watch)
    try:
        act()
    finally:
        sys.setprofile(None)
    return sorted(found - {"benchmarks/house.py"})


def a_plan() -> object:
    return CEM().plan(lambda x: -x.square().sum((-1, -2)), Box([-1.0], [1.0]).repeat(5))


def an_update() -> Callable[[], object]:
    agent = Agent(CGP(), state_size=3, space=Box([-1.0], [1.0]), seed=0)
    for _ in range(10):
        row = torch.zeros(3).numpy()
        agent.observe(Transition.one(row, agent.act_at_random(1)[0], 0.0, row, False, False))
    return agent.update


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=HOUSE, help="a checkout")
    args = parser.parse_args()
    print(f"{'folder':<12}{'files':>6}{'lines':>8}  longest function")
    for folder in FOLDERS:
        files = sorted((args.root / folder).rglob("*.py")) if (args.root / folder).is_dir() else []
        if files:
            lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
            longest, name, where = max(
                (length, name, file.relative_to(args.root)) for file in files for length, name in functions(file)
            )
            print(f"{folder:<12}{len(files):>6}{lines:>8}  {longest} lines, {name} in {where}")
    if args.root == HOUSE:
        for title, act in (("a plan of CEM", a_plan), ("an update of CGP", an_update())):
            found = files_run(act)
            print(f"\n{title} runs through {len(found)} files:\n  " + "\n  ".join(found))


if __name__ == "__main__":
    cli.run(main)
