"""Shows the notebooks as pages of the site: a hook of mkdocs.

A cell of Markdown stays as it is. A cell of code becomes a block of code, and its stored outputs follow it. The
metadata `alt` of a cell describes its pictures to people who do not see them.
"""

from __future__ import annotations

import base64
import json
import posixpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

Cell = dict[str, Any]


class Notebook(File):
    """A notebook, which mkdocs takes for a page."""

    def is_documentation_page(self) -> bool:
        return True


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Makes a page of every notebook, and a file of every picture in it."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
        page = Notebook(file.src_uri, config.docs_dir, config.site_dir, config.use_directory_urls)
        files.append(page)
        for number, cell in enumerate(cells(page), start=1):
            for name, picture in pictures(page, number, cell).items():
                files.append(File.generated(config, f"{posixpath.dirname(page.src_uri)}/{name}", content=picture))
        copy = posixpath.join(posixpath.dirname(page.src_uri), "files", posixpath.basename(page.src_uri))
        files.append(File.generated(config, copy, content=page.content_bytes))
    return files


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    """The Markdown of a notebook; None leaves other pages to mkdocs."""
    if not isinstance(page.file, Notebook):
        return None
    shown = [markdown(page.file, number, cell) for number, cell in enumerate(cells(page.file), start=1)]
    name = posixpath.basename(page.file.src_uri)
    title, *rest = shown
    download = f'<p><a href="files/{name}" download>Download this notebook</a></p>'
    return "\n\n".join([title, download, *rest])


def cells(file: File) -> list[Cell]:
    found: list[Cell] = json.loads(file.content_string)["cells"]
    return found


def markdown(file: File, number: int, cell: Cell) -> str:
    """A cell and its outputs."""
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return source
    alt = cell["metadata"].get("alt", "What the code above draws")
    written = [f"```python\n{source}\n```"]
    for output in cell["outputs"]:
        text = output.get("text", output.get("data", {}).get("text/plain", ""))
        if "image/png" not in output.get("data", {}) and text:
            written.append(f"``` {{ .text .no-copy }}\n{''.join(text).rstrip()}\n```")
    written += [f"[![{alt}]({name})]({name})" for name in pictures(file, number, cell)]
    return "\n\n".join(written)


def pictures(file: File, number: int, cell: Cell) -> dict[str, bytes]:
    """The PNGs among the outputs of a cell, by the names of their files."""
    found = [output["data"]["image/png"] for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    stem = posixpath.splitext(posixpath.basename(file.src_uri))[0]
    return {f"{stem}_{number}_{i}.png": base64.b64decode("".join(png)) for i, png in enumerate(found, start=1)}
