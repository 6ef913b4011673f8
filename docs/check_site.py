"""Checks the built site: `python docs/check_site.py build/site`.

Pages load nothing from outside, so that they work offline and tell nobody who reads them. External links are well
formed. The check fetches nothing. mkdocs itself checks the links between pages.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

LOADED = dict.fromkeys(("script", "img", "iframe", "source", "video", "embed"), "src") | {"link": "href"}
NAMED = {"canonical", "alternate", "next", "prev"}  # links of the head that a browser does not load
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")


class Addresses(HTMLParser):
    """The addresses of a page: those that a browser loads, and those that a reader can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.followed: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "a" and "href" in values:
            self.followed.append(values["href"])
        elif tag in LOADED and LOADED[tag] in values and values.get("rel") not in NAMED:
            self.loaded.append(values[LOADED[tag]])


def well_formed(address: str) -> bool:
    """Whether an external address can be one: https, a host with a dot, no punctuation of the sentence around it."""
    parts = urlsplit(address)
    if parts.scheme == "mailto":
        return "@" in parts.path
    plain = not re.search(r"\s|[<>\"`{}|\\^]|[.,;:)]$", address) or address.count("(") == address.count(")") > 0
    return parts.scheme == "https" and bool(HOST.fullmatch(parts.netloc.lower())) and plain


def external(address: str) -> bool:
    return bool(re.match(r"//|(?!data:)[a-z][a-z0-9+.-]*:", address))


def faults(site: Path) -> Iterator[str]:
    """One line for every address that is wrong."""
    for page in sorted(site.rglob("*.html")):
        addresses = Addresses()
        addresses.feed(page.read_text(encoding="utf-8"))
        name = page.relative_to(site).as_posix()
        yield from (f"{name}: loads {found} from outside" for found in addresses.loaded if external(found))
        for found in addresses.followed:
            if external(found) and not well_formed(found):
                yield f"{name}: links to {found}, which is no https address"
    for sheet in sorted(site.rglob("*.css")):
        for found in re.findall(r"(?:url\(|@import )['\"]?((?:https?:)?//[^'\")]+)", sheet.read_text(encoding="utf-8")):
            yield f"{sheet.relative_to(site).as_posix()}: loads {found} from outside"


def main() -> int:
    """1 if an address is wrong."""
    found = list(faults(Path(sys.argv[1])))
    for fault in found:
        sys.stdout.write(f"{fault}\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
