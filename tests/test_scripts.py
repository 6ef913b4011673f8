"""Scripts import the package and no other script, so each can be read, copied and run alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("examples/*.py"), *ROOT.glob("benchmarks/*.py")])


def imported(source: str) -> set[str]:
    """The top-level modules that a program imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_no_script_imports_another(script: Path) -> None:
    assert not imported(script.read_text()) & {other.stem for other in SCRIPTS}
    assert "sys.path" not in script.read_text()


def test_what_is_imported_is_found() -> None:
    assert imported("import a.b\nfrom c.d import e\ndef f():\n    import g\nfrom . import h") == {"a", "c", "g", "."}
    assert len(SCRIPTS) > 10
