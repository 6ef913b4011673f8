"""Nothing comes from outside into the site, and links lead somewhere; the check finds what does not."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SKIPPED = {"build", "node_modules", "outputs", "dist"}
MARKDOWN = [
    path
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md")])
    if not SKIPPED & set(path.relative_to(ROOT).parts)
]


def links(path: Path) -> list[str]:
    """The targets of a page, those in code aside."""
    text = re.sub(r"^(`{3,}).*?^\1`*$|`[^`\n]+`|<!--.*?-->", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", text)
    named = re.findall(r"^\[[^\]]+\]: *(\S+)", text, re.MULTILINE)
    return [*inline, *named, *re.findall(r"(?:src|href)=\"([^\"]+)\"", text)]


def anchors(path: Path) -> set[str]:
    """Those that GitHub and mkdocs give the headings of a page."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?) *#*$", path.read_text(), re.MULTILINE):
        words = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading)
        named = re.search(r"\{ *#([\w-]+) *\}", words)
        found.add(named.group(1) if named else re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(check_site: ModuleType, page: Path) -> None:
    for link in links(page):
        if check_site.external(link):
            assert check_site.well_formed(link), link
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target) if target else page
        assert file.exists(), link
        assert file.resolve().is_relative_to(ROOT), link
        if anchor and file.suffix == ".md":
            assert re.sub("-+", "-", anchor) in {re.sub("-+", "-", name) for name in anchors(file)}, link


def test_the_site_is_strict_and_asks_for_nothing() -> None:
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(), yaml.BaseLoader)
    assert settings["theme"]["font"] == "false"
    assert {level for part in settings["validation"].values() for level in part.values()} == {"warn"}
    assert settings["validation"]["links"].keys() == {"not_found", "anchors", "absolute_links", "unrecognized_links"}
    assert "offline" in settings["plugins"]


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<script src="https://cdn.example.org/x.js"></script>', "loads https://cdn.example.org/x.js"),
        ('<link rel="stylesheet" href="//fonts.example.org/css">', "loads //fonts.example.org/css"),
        ('<img src="http://example.org/x.png">', "loads http://example.org/x.png"),
        ('<a href="https://example.org/page.">', "links to https://example.org/page."),
        ('<a href="http://example.org">', "links to http://example.org"),
        ('<a href="https://example">', "links to https://example"),
        ('<a href="htps://example.org">', "links to htps://example.org"),
    ],
)
def test_finds(check_site: ModuleType, tmp_path: Path, html: str, fault: str) -> None:
    (tmp_path / "page.html").write_text(html)
    (found,) = check_site.faults(tmp_path)
    assert found.startswith(f"page.html: {fault}")


@pytest.mark.parametrize(
    "html",
    [
        '<link rel="canonical" href="https://example.org/page.html">',
        '<img src="data:image/png;base64,x"><img src="../x.png"><script src="x.js"></script>',
        '<a href="https://en.wikipedia.org/wiki/Cross_(method)">',
        '<a href="mailto:us@example.org"><a href="#here"><a href="page.html#there">',
    ],
)
def test_lets_pass(check_site: ModuleType, tmp_path: Path, html: str) -> None:
    (tmp_path / "page.html").write_text(html)
    assert not list(check_site.faults(tmp_path))


def test_style_sheets_are_read(check_site: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "site.css").write_text("@import 'https://example.org/a.css'; b { color: url(//example.org/b.png) }")
    assert len(list(check_site.faults(tmp_path))) == 2
