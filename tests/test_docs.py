"""The pages are right: their Python runs, their files and commands exist, their links work."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from elites.runs.commands.main import COMMANDS

ROOT = Path(__file__).parents[1]
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
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)))
    runpy.run_path(str(program))


def test_the_planner_shown_is_the_planner_tested() -> None:
    assert (ROOT / "tests/plugins/rank_weighted.py").read_text() in (ROOT / "docs/extend/planner.md").read_text()


def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r"^ +- .*?([\w/]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [path for path in (ROOT / "docs").rglob("*") if path.suffix in {".md", ".ipynb"}]
    assert sorted(named) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in pages)


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
    """Blocks without a language, which are commands, and text in backticks."""
    text = page.read_text()
    return [*re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE), *re.findall(r"`(elites [^`\n]+)`", text)]
