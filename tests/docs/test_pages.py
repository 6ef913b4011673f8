"""The Python of every page runs, its commands exist, and the navigation and the reference are complete."""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
import textwrap
from pathlib import Path
from typing import get_origin

import pytest

from elites.agents import AGENTS
from elites.agents.taxonomy import METHODS, table
from elites.runs.commands.main import COMMANDS

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"mbrl.md"}  # tests/mbrl runs it, because mbrl-lib is installed there
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(params=PAGES, ids=name_of)
def page(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ELSEWHERE], ids=name_of)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    """From top to bottom, as one program."""
    program = tmp_path / f"{page.stem}.py"
    program.write_text("\n".join(blocks(page, "python")))
    runpy.run_path(str(program))


def test_the_planner_shown_is_the_planner_tested() -> None:
    assert (ROOT / "tests/plugins/rank_weighted.py").read_text() in (ROOT / "docs/extend/planner.md").read_text()


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r"^ +- .*?([\w/]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [path for path in (ROOT / "docs").rglob("*") if path.suffix in {".md", ".ipynb"}]
    assert sorted(named) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in pages)


def test_the_reference_has_every_public_name() -> None:
    pages = "\n".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    listed = re.findall(r"^::: (\S+)", pages, re.MULTILINE)
    for package in ("planners", "networks", "dynamics", "envs", "agents", "runs"):
        module = importlib.import_module(f"elites.{package}")
        for name in module.__all__:
            thing = getattr(module, name)
            alias = get_origin(thing) is not None  # Python 3.10 takes aliases such as Objective for classes
            if not alias and (inspect.isclass(thing) or inspect.isfunction(thing)):
                assert thing.__module__ in listed or thing in (dict, str), f"{package}.{name}"


def test_the_taxonomy_is_that_of_the_agents() -> None:
    """It is Table 1 of Furuta et al. (2021), made from the agents' settings."""
    page = (ROOT / "docs/inference.md").read_text()
    found = re.findall(r"<!-- taxonomy -->\n\n(.*?)\n\n<!-- /taxonomy -->", page, re.DOTALL)
    assert found == [table((name, kind()) for name, kind in AGENTS.items() if kind in METHODS)]


def test_what_passes_before_a_commit_passes_in_ci() -> None:
    """People run `make check`. CI runs the same and builds the docs."""
    (check,) = re.findall(r"^check: ([\w ]+?) +##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    (ci,) = re.findall(r"^make (.*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert {*check.split(), "docs"} <= {*ci.split()}


def test_commands_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in re.findall(r"python ((?:examples|benchmarks)/\S+\.py)", page.read_text()):
        assert (ROOT / script).exists(), script
    for command in re.findall(r"(?:^|[`$ ])elites ([a-z]+)\b", "\n".join(code(page)), re.MULTILINE):
        assert command in COMMANDS, command


def code(page: Path) -> list[str]:
    """Commands: blocks without a language, and what stands in backticks."""
    return [*blocks(page, ""), *re.findall(r"`(elites [^`\n]+)`", page.read_text())]


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code in this language, which may be indented."""
    fences = re.findall(r"^( *)```(\w*)\n(.*?)^\1```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(text) for _, found, text in fences if found == language]
