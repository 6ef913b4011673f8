"""Finds sentences that are hard to read: `python docs/prose.py [FILES]` prints `file:line: rule: sentence`.

It reads Markdown pages, the Markdown cells of notebooks, and the docstrings, comments, help texts and error messages of
Python files. Code, tables and link targets do not count. Without FILES it reads the whole repository.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ["elites", "networks", "planners", "dynamics", "envs", "agents", "runs", "examples", "benchmarks", "docs"]
BORROWED = {"CODE_OF_CONDUCT.md"}  # another project's text, kept word for word

LONGEST = 30  # words in a sentence
MOST_COMMAS = 4  # in a sentence, enumerations of short items aside
FEW = 12  # words of a fragment, which can have semicolons

CODE, NOTHING = "▮", "\0"  # stand in for a character of code, and for markup that is not read

# Each phrase with what to write instead. Matched in sentences, headings and table cells.
PHRASES = {
    r"\b(?:what|which) (?:is|was|are|were) (?:not|left|there|so|else|longer|kept|meant)\b": "name the thing",
    r"\bwhat (?:it|they) had\b": "name the thing",
    r"\b(?:those|that|these) of (?:it|them|theirs|ours|others|both|all|each)\b": "repeat the noun",
    r"\b(?:stands?|says?|said|is|are|so|tried|there) there,? too\b|\bthere,? too\b": "say where",
    r"\bas well so\b": "say what is the same",
    r"\balike\b": "say what is the same",
    r"\bone and the same\b": "the same",
    r"\bwhich may be\b": "a sentence of its own: It can be …",
    r"\bat hand\b": "available, installed, found",
    r"\b[Oo]n the way(?! to\b)": "say when",
    r"\bfor the most part\b": "mostly",
    r"\bat the (?:most|least|latest)\b": "at most, at least",
    r"(?:^|[,;:(] )[Ii]t (?:is|was) [^.;:]{1,60} that\b": "start with the subject",
    r"\bblam(?:e|es|ed)\b": "say what the message names",
    r"\b(?:sets?|setting) out\b": "starts",
    r"\bits? turn\b|\btheir turn\b": "say the order",
    r"\bin one \w+ or another\b": "in at least one",
    r"\b(?:an?|one|two|three)[ -](?:\w+-)?(?:fifth|sixth|seventh|eighth|ninth|tenth|twelfth|fifteenth|twentieth"
    r"|fortieth|fiftieth|hundredth|thousandth)s?\b": "a number: 10 %",
    r"\bby an? (?:third|quarter)\b": "a number: 33 %",
    r"\b(?:whom|whoever|whereof|thereof|therein|wherein|hitherto|lest|anew|kin)\b": "a common word",
    r"\b(?:the former|the latter|respectively)\b": "repeat the noun",
    r"\bto be had\b": "available",
    r"\b(?:come|comes|came) to -?\d": "reaches",
    r"\bwhere (?:it|they|there|nothing|none) (?:is|are|was|were)\b": "if",
    r"\bas (?:it|they|there) (?:is|are|was|were) (?:now|before|then)\b": "say what changed",
    r"\b(?:the world|the model|a search) (?:does not )?pays?\b": "say what happens",
}

# Openings of a sentence, with what to write instead. Not matched in headings and table cells.
OPENINGS = {
    r"Of\b": "the subject first",
    r"(?:But |And )?[Tt]o (?:the|a|an|it|them) [^,]+\b(?:is|are|was|were)\b": "the subject first",
    r"What\b(?! to\b)[^?]*[^?]$": "the subject first: a noun, and not a clause with What",
    r"Which\b[^?]*[^?]$": "the subject first",
    r"(?:Nor|Neither|Not so|So (?:is|are|does|do|has|have|did|was|were))\b": "a full sentence",
    r"No \w+(?: \w+)? (?:needed|required|given)\b": "a full sentence with a verb",
    r"(?:Such|Those|These|That) (?:is|are|was|were)\b": "name the thing",
}

ABBREVIATIONS = re.compile(
    r"(?:\b(?:e\.g|etc|i\.e|cf|vs|al|approx|resp|ca|incl|excl|[Ff]igs?|[Ee]qs?|[Ss]ecs?|[Cc]h|[Aa]pp|[Nn]os?|pp?|vol|ed|eds|Dr|Mr|Ms|St)"
    r"|\b[A-Z])\.$"
)
END = re.compile(rf"[.!?…]+[\"'”’)\]*{NOTHING}]*(?=\s)")
STARTS = re.compile(rf"[{NOTHING}\s]*[\"'“‘(\[*]*[A-Z0-9{CODE}À-ÖØ-Þ]")
WORD = rf"[\w'’%{CODE}/.…+-]+"
ITEM = rf"{WORD}(?: {WORD}){{0,2}}"
ENUMERATION = re.compile(rf"{ITEM}(?:, {ITEM})+,? (?:and|or) {ITEM}|{WORD}(?:, {WORD}){{2,}}")
NOT_PROSE = re.compile(r"#!|#:|#?\s*(?:noqa|type:|pragma|fmt:|ruff:|mypy:|-\*-)")


@dataclass
class Passage:
    """A paragraph, list item, heading, table cell, comment or message: its lines, each with its number in the file."""

    lines: list[tuple[int, str]] = field(default_factory=list)
    sentences: bool = True  # False for headings and table cells, of which only phrases are matched

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.lines)

    def line(self, offset: int) -> int:
        """The line of the file on which the character at `offset` of `text` stands."""
        for number, text in self.lines:
            if offset <= len(text):
                return number
            offset -= len(text) + 1
        return self.lines[-1][0]


@dataclass(frozen=True)
class Finding:
    """A sentence that breaks a rule."""

    path: str
    line: int
    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.sentence}"


def check(path: Path) -> list[Finding]:
    """Every finding in a file, from top to bottom."""
    name = path.resolve().relative_to(ROOT).as_posix() if path.resolve().is_relative_to(ROOT) else str(path)
    findings = []
    for passage in passages(path):
        for offset, sentence, read in sentences(passage):
            line = passage.line(offset)
            findings += [Finding(name, line, rule, sentence) for rule in broken(read, passage.sentences)]
    return sorted(findings, key=lambda finding: finding.line)


def broken(sentence: str, full: bool = True) -> Iterator[str]:
    """The rules that a sentence without markup breaks."""
    for pattern, instead in PHRASES.items():
        if found := re.search(pattern, sentence):
            yield f"“{found.group().strip(' ,;:(')}” ({instead})"
    if not full:
        return
    for pattern, instead in OPENINGS.items():
        if found := re.match(pattern, sentence):
            yield f"opens with “{' '.join(found.group().split()[:2])}” ({instead})"
    words = sum(any(c.isalnum() for c in word) and CODE not in word for word in sentence.split())
    if words > LONGEST:
        yield f"{words} words (at most {LONGEST})"
    bare = ENUMERATION.sub("list", re.sub(r"\([^()]*\)", "", sentence))
    if (commas := len(re.findall(r",(?!\d)", bare))) > MOST_COMMAS:
        yield f"{commas} commas (at most {MOST_COMMAS})"
    if bare.count(";") > 1 and words > FEW:
        yield f"{bare.count(';')} semicolons (at most 1)"


def sentences(passage: Passage) -> Iterator[tuple[int, str, str]]:
    """(where it starts, as written, as read without markup) for every sentence of a passage."""
    text, masked = passage.text, mask(passage.text)
    start = 0
    for stop in [*ends(masked), len(text)]:
        read = masked[start:stop].replace(NOTHING, "").strip()
        if any(c.isalpha() for c in read):
            written = text[start:stop]
            yield start + len(written) - len(written.lstrip()), written.strip(), read
        start = stop


def ends(masked: str) -> Iterator[int]:
    """Where sentences end.

    A full stop ends one unless it is an abbreviation's: `mbrl-lib` and `float32` start sentences in lower case.
    Other marks also stand in the middle of sentences. They end a sentence before a capital.
    """
    for found in END.finditer(masked):
        before = masked[: found.start() + 1].replace(NOTHING, "")
        stop = found.group().startswith(".") and not found.group().startswith("..")
        if not ABBREVIATIONS.search(before) if stop else STARTS.match(masked, found.end()):
            yield found.end()


def mask(text: str) -> str:
    """The text with its length kept: code becomes CODE; link targets, tags and emphasis become NOTHING."""

    def cover(character: str, pattern: str, text: str) -> str:
        return re.sub(pattern, lambda found: character * len(found.group()), text)

    text = cover(CODE, r"(`+).+?\1", text)
    text = cover(CODE, r"(?<![\\\w$])\$(?! )[^$]+(?<! )\$(?!\w)", text)
    text = cover(NOTHING, r"<!--.*?-->|</?[a-zA-Z][^<>]*>", text)
    text = cover(CODE, r"<?https?://[^\s)>]+>?", text)
    text = cover(NOTHING, r"!\[[^\]]*\]\([^)]*\)", text)
    text = cover(NOTHING, r"\]\([^)]*\)|\](?:\[[^\]]*\])?(?=\{)|\[(?=[^\]]+\0)", text)
    text = cover(NOTHING, r"\{[:.#][^}]*\}", text)
    return cover(NOTHING, r"\*\*|(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)", text)


def passages(path: Path) -> Iterator[Passage]:
    """Every passage of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from in_python(text)
    elif path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(text)["cells"], start=1):
            if cell["cell_type"] == "markdown":
                yield from in_markdown([(number, line) for line in "".join(cell["source"]).splitlines()])
    else:
        yield from in_markdown(list(enumerate(text.splitlines(), start=1)))


def in_markdown(lines: list[tuple[int, str]]) -> Iterator[Passage]:
    """The paragraphs, list items, headings and table cells among the lines of a page."""
    passage, nested = Passage(), False  # nested: below a list item or an admonition, where indented text is no code
    for number, line in prose(lines):
        bare = line.strip().lstrip("> ")
        opens = re.match(r"(?:[-*+]|\d+[.)]) +|(?:!!!|\?\?\?\+?|===).*", bare)
        starts = not bare or opens or bare.startswith(("#", "|"))
        if starts and passage.lines:
            yield passage
            passage = Passage()
        if not line.startswith(" " * 2) and bare:
            nested = bool(opens) or (nested and bool(passage.lines))
        if not bare or (line.startswith(" " * 4) and not nested and not passage.lines):
            continue
        if bare.startswith("|"):
            yield from (Passage([(number, cell.strip())], sentences=False) for cell in bare.split("|") if cell.strip())
        elif bare.startswith("#"):
            yield Passage([(number, bare.strip("# "))], sentences=False)
        elif not bare.startswith(("!!!", "???", "===", ">>>", "...", ":::")):
            passage.lines.append((number, bare[opens.end() :] if opens else bare))
    if passage.lines:
        yield passage


def prose(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The lines outside fenced code, front matter and HTML comments; one blank line in the place of each."""
    closing = ""
    for index, (number, line) in enumerate(lines):
        bare = line.strip()
        if closing:
            if (bare == closing) if closing != "-->" else (closing in bare):
                closing = ""
        elif fence := re.match(r"(`{3,}|~{3,})", bare):
            closing = fence.group()
            yield number, ""
        elif index == 0 and bare == "---":
            closing = "---"
        elif bare.startswith("<!--") and "-->" not in bare:
            closing = "-->"
            yield number, ""
        else:
            yield number, line


def in_python(source: str) -> Iterator[Passage]:
    """Docstrings, help texts and messages, and comments."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False):
            yield from in_docstring(node.body[0].value)  # type: ignore[attr-defined]
        elif isinstance(node, ast.keyword) and node.arg in ("help", "description", "epilog"):
            yield from in_message(node.value)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                yield from in_message(argument)
    yield from in_comments(source)


def in_docstring(node: ast.Constant) -> Iterator[Passage]:
    """A docstring's passages, less the indentation of its code."""
    lines = list(enumerate(str(node.value).splitlines(), start=node.lineno))
    depth = min((len(text) - len(text.lstrip()) for _, text in lines[1:] if text.strip()), default=0)
    yield from in_markdown([lines[0], *((number, text[depth:]) for number, text in lines[1:])] if lines else [])


def in_message(node: ast.expr) -> Iterator[Passage]:
    """A string of words; what an f-string fills in is code."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    texts = [str(part.value) if isinstance(part, ast.Constant) else f"`{CODE}`" for part in parts]
    if isinstance(node, ast.JoinedStr | ast.Constant) and " " in "".join(texts):
        yield Passage([(node.lineno, " ".join("".join(texts).split()))])


def in_comments(source: str) -> Iterator[Passage]:
    """Comments; those that fill lines one below the other are one passage."""
    passage, last = Passage(), (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or NOT_PROSE.match(token.string):
            continue
        whole = not token.line[: token.start[1]].strip()
        if passage.lines and not (whole and token.start == (last[0] + 1, last[1])):
            yield passage
            passage = Passage()
        passage.lines.append((token.start[0], token.string.lstrip("# ")))
        last = token.start if whole else (0, 0)
    if passage.lines:
        yield passage


def everything() -> list[Path]:
    """Every file of the repository that people read: pages, notebooks, and the code that is not a test."""
    pages = [*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md"), *(ROOT / "docs").rglob("*.md")]
    code = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    notebooks = (ROOT / "docs").rglob("*.ipynb")
    found = {*pages, *notebooks, *code, ROOT / "setup.py"}
    return sorted(path for path in found if path.name not in BORROWED and ".ipynb_checkpoints" not in path.parts)


def main() -> int:
    """1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILES", help="the whole repository by default")
    files = parser.parse_args().files or everything()
    findings = [finding for path in files for finding in check(path)]
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    unclean = len({finding.path for finding in findings})
    sys.stdout.write(f"{len(findings)} findings in {unclean} of {len(files)} files\n")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
