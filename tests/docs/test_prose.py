"""Everything that people read keeps the rules of docs/prose.py, and the rules find what they should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def test_everything_is_plain(prose: ModuleType) -> None:
    found = [str(finding) for path in prose.everything() for finding in prose.check(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("sentence", "rule"),
    [
        ("Settings that are missing stand there too.", "there too"),
        ("Rollouts are compiled code where a C++ compiler was at hand.", "at hand"),
        ("Mistakes in flags are not blamed on a configuration file.", "blamed"),
        ("Subclasses say what is not as it is here.", "what is not"),
        ("All are hit alike.", "alike"),
        ("It is the weakness that the paper found.", "it is"),
        ("It takes the weights, which may be others now.", "which may be"),
        ("On the way each loses what it had.", "on the way"),
        ("Of ten plans nine fall.", "opens with “Of"),
        ("What a run leaves stands below.", "opens with “What a"),
        ("No GPU needed.", "opens with “No GPU"),
        ("A search loses a two-hundredth of it.", "a two-hundredth"),
        ("word " * 31 + "end.", "32 words"),
        ("Each a b c, then d e f g, yet h i j k, so l m n o, for p q r s, and t.", "5 commas"),
        ("One two three four five; six seven eight nine ten; eleven twelve thirteen.", "2 semicolons"),
    ],
)
def test_finds(prose: ModuleType, tmp_path: Path, sentence: str, rule: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\nPlain words come\nfirst. {sentence}\n")
    (finding,) = [found for found in prose.check(page) if rule.lower() in found.rule.lower()]
    assert finding.line == 4
    assert finding.sentence == sentence


@pytest.mark.parametrize(
    "text",
    [
        "You do not need a GPU. The code also targets CUDA, but has not been tested there yet.",
        "```\nwhat is not at hand\n```",
        "| " + "word " * 40 + "|",
        f"Call `{'word ' * 40}` first.",
        f"See [the page](https://example.com/{'/'.join('at-hand' for _ in range(9))}).",
        "<!-- alike -->",
        "What is a plan?",
        "The planners are `cem`, `icem`, `mppi`, `cem_gd`, `grad_cem`, `random_shooting` and `predictive_sampling`.",
        "A run takes 1,000, 2,000, 3,000, 4,000, 5,000 or 6,000 steps.",
    ],
)
def test_lets_pass(prose: ModuleType, tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert not prose.check(page)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It runs. It stops.", 2),
        ("As in Chua et al. 2018, e.g. in Fig. 3, it took 0.5 s on Python 3.11, i.e. less.", 1),
        ("It needs Python 3.11. It runs.", 2),
        ("It is fast. mbrl-lib is slower. `cem` is faster. (It samples.)", 4),
        ("Is it fast? Yes! No.", 3),
        ("Ask… and tell.", 1),
        ("- one. item\n- two\n\n1. three\n", 4),
        ("**Bold ends.** It goes on.", 2),
        ("R. Rubinstein, vs. others, etc. and so on.", 1),
    ],
)
def test_splits_sentences(prose: ModuleType, tmp_path: Path, text: str, count: int) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    found = [read for passage in prose.passages(page) for _, _, read in prose.sentences(passage)]
    assert len(found) == count, found


def test_reads_python(prose: ModuleType, tmp_path: Path) -> None:
    """Docstrings, comments, help texts and errors, and no other strings."""
    module = tmp_path / "module.py"
    module.write_text(
        '"""All alike."""\n'
        "\n"
        "def f(x):\n"
        '    """Shapes.\n'
        "\n"
        "    All of them\n"
        "    alike.\n"
        "\n"
        "        code alike\n"
        '    """\n'
        "    # two lines,\n"
        "    # alike  \n"
        '    add("--x", help=f"of {x} alike")\n'
        '    y = "not alike"  # noqa: alike\n'
        '    raise ValueError("expected two alike")\n'
    )
    assert [finding.line for finding in prose.check(module)] == [1, 6, 11, 13, 15]


def test_reads_notebooks(prose: ModuleType, tmp_path: Path) -> None:
    notebook = tmp_path / "first.ipynb"
    notebook.write_text(
        '{"cells": [{"cell_type": "code", "source": ["alike"]},'
        ' {"cell_type": "markdown", "source": ["All\\n", "alike."]}]}'
    )
    assert [finding.line for finding in prose.check(notebook)] == [2]


def test_as_a_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("All\nare\nalike.\n")
    command = [sys.executable, str(ROOT / "docs/prose.py"), str(page)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == f"{page}:1: “alike” (say what is the same): All are alike."
