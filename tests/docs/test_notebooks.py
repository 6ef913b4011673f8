"""The notebooks run, and what is stored in them can be shown; the hook of mkdocs makes pages of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
LARGEST = 400_000  # bytes

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path) -> None:
    before = path.read_bytes()
    command = [sys.executable, str(ROOT / "docs/run_notebooks.py"), "--check", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_can_be_shown(run_notebooks: ModuleType, path: Path) -> None:
    """All cells were run in order, nothing in them is local, every picture is described, and the file is small."""
    import nbformat

    assert not run_notebooks.faults(nbformat.read(path, as_version=4))
    assert path.stat().st_size < LARGEST
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        drawn = any("image/png" in output.get("data", {}) for output in cell["outputs"])
        assert drawn == ("alt" in cell["metadata"]), cell["source"]


def test_local_outputs_are_faults(run_notebooks: ModuleType) -> None:
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    outputs = [
        new_output("stream", name="stdout", text="all is well: 3/4 of it, see https://example.org/home/page\n"),
        new_output("stream", name="stdout", text="saved to /home/somebody/run\n"),
        new_output("stream", name="stderr", text="a warning\n"),
        new_output("execute_result", data={"text/plain": "PosixPath('/tmp/x/run')"}),
    ]
    found = run_notebooks.faults(new_notebook(cells=[new_code_cell("x", outputs=outputs)]))
    assert [fault.partition(":")[0] for fault in found] == [
        "cell 1 names a folder",
        "cell 1 writes to stderr",
        "cell 1 names a folder",
    ]


def test_a_notebook_becomes_a_page(tmp_path: Path) -> None:
    site = built(
        tmp_path,
        markdown("# Title\n\nSee [the other page](../index.md#here)."),
        code("x = 1\nx", {"output_type": "execute_result", "data": {"text/plain": ["1"]}}),
        code("draw()", {"output_type": "display_data", "data": {"image/png": PNG, "text/plain": "<Fig>"}}, alt="Dot"),
    )
    page = (site / "notebooks/first.html").read_text()
    assert 'href="../index.html#here"' in page
    assert 'alt="Dot"' in page
    assert 'href="files/first.ipynb"' in page
    assert "&lt;Fig&gt;" not in page
    assert (site / "notebooks/first_3_1.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((site / "notebooks/files/first.ipynb").read_text())["cells"]
    assert "Title" in (site / "search/search_index.json").read_text()


def markdown(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def code(source: str, *outputs: dict[str, Any], **metadata: str) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": metadata, "source": source.splitlines(keepends=True), "outputs": outputs}


def built(folder: Path, *cells: dict[str, Any]) -> Path:
    """A site of one notebook, made as strictly as ours."""
    (folder / "docs/notebooks").mkdir(parents=True)
    (folder / "docs/index.md").write_text("# Index\n\n## Here\n\n[A notebook](notebooks/first.ipynb)\n")
    (folder / "docs/notebooks/first.ipynb").write_text(json.dumps({"cells": cells}))
    (folder / "mkdocs.yml").write_text(
        f"site_name: test\nuse_directory_urls: false\nhooks: ['{(ROOT / 'docs/notebook_pages.py').as_posix()}']\n"
        "markdown_extensions: [pymdownx.superfences, pymdownx.highlight]\nplugins: [search]\n"
        "nav: [index.md, notebooks/first.ipynb]\n"
        "validation: {links: {anchors: warn, unrecognized_links: warn}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"
