"""Runs the notebooks of docs/notebooks in place: `python docs/run_notebooks.py [FILES]`, or `make notebooks`.

With `--check` it stores nothing. A notebook fails if a cell raises, if a cell writes to stderr, or if an output names a
folder or a computer.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "notebooks"
LOCAL = re.compile(r"(?<![\w:/.])/(?:home|root|Users|tmp|var|usr|opt|work|mnt|private)/\S+|\b[A-Z]:\\\S+")
SECONDS = 300  # for one cell


def run(path: Path) -> Any:
    """The notebook with new outputs, which depend on its code alone."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources=resources, record_timing=False
        )
        client.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
        client.execute()
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"].pop("text/plain", None)
    return notebook


def faults(notebook: Any) -> list[str]:
    """Outputs that a reader should not see."""
    found = []
    for number, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = "".join([output.get("text", ""), *(str(data[kind]) for kind in data if kind != "image/png")])
            if output.get("name") == "stderr":
                found.append(f"cell {number} writes to stderr: {text.strip()}")
            if local := LOCAL.search(text):
                found.append(f"cell {number} names a folder: {local.group()}")
            if socket.gethostname() in text.split():
                found.append(f"cell {number} names this computer")
    return found


def main() -> int:
    """1 if a notebook fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILES", help="all notebooks by default")
    parser.add_argument("--check", action="store_true", help="store no outputs")
    arguments = parser.parse_args()
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    failed = 0
    for path in arguments.files or sorted(FOLDER.glob("*.ipynb")):
        began = time.perf_counter()
        notebook = run(path)
        wrong = faults(notebook)
        failed += bool(wrong)
        if not arguments.check and not wrong:
            import nbformat

            nbformat.write(notebook, path)
        sys.stdout.write(f"{path.name}: {'; '.join(wrong) or 'passes'} ({time.perf_counter() - began:.0f} s)\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
