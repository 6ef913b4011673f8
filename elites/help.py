"""What a dataclass of settings takes, in words: every field, its type, range, value and comment; and below a choice.

`describe(Settings, {"planner": {"name": "cem"}})` lists `planner.samples` and the rest of CEM's own fields.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from elites import config, fields

WIDEST, NARROWEST = 110, 40  # of a line; of the words in it
LONGEST_KEY, LONGEST_VALUE = 32, 16  # that have a column; what is longer has a line
NOT_FOR_READERS = re.compile(r"\s*#?\s*(noqa|type:|pragma).*")


@dataclass(frozen=True)
class Setting:
    """One key that a mapping for `config.build` may hold."""

    key: str  # planner.cold.samples
    value: str  # as YAML; empty where the key has no value of its own, only keys below it
    expected: str  # its type in words
    text: str  # what it means
    depth: int  # 0 for a setting of the dataclass itself; a part counts as one below its owner
    part: bool = False  # whether keys of its own follow

    def said(self) -> list[str]:
        """Paragraphs: what it means, and what it takes."""
        if self.part:
            return [text for text in (self.text, self.expected) if text]
        return [f"{self.text} ({self.expected})" if self.text else self.expected]


def describe(cls: type, mapping: Mapping[str, Any] | None = None, source: str = "settings") -> list[Setting]:
    """Every setting of the dataclass `cls`, the leaves before the parts; the values are those that `mapping` gives."""
    return explain(config.build(cls, mapping or {}, source))


def explain(settings: Any) -> list[Setting]:
    """The same of settings that are made already."""
    return list(_settings(settings, "", 0, set()))


def lines(settings: Sequence[Setting], width: int) -> str:
    """A table to read: the key, its value, and what it means and takes."""
    keys = min(max((len(setting.key) for setting in settings), default=0), LONGEST_KEY)
    left = min(keys + LONGEST_VALUE + 6, max(width - NARROWEST, 6))
    written: list[str] = []
    for setting in settings:
        if setting.part and setting.depth == 1:
            written.append("")
        head = f"  {setting.key:<{keys}}  {setting.value}".rstrip()
        right = [row for text in setting.said() for row in textwrap.wrap(text, min(width, WIDEST) - left)]
        if right and len(head) <= left - 2:
            head = f"{head:<{left}}{right.pop(0)}"
        written += [head, *(" " * left + row for row in right)]
    return "\n".join(written)


def _settings(instance: Any, path: str, depth: int, told: set[type]) -> Iterator[Setting]:
    """told: classes that have been explained; a second part of the same one has its types and values alone."""
    cls: Any = type(instance)
    parts = []
    texts = {} if cls in told else comments(cls)
    told.add(cls)
    for name, hint in fields.hints(cls).items():
        value, kind = getattr(instance, name), _part(hint)
        if kind is not None and dataclasses.is_dataclass(value):
            parts.append((name, kind, value))
        elif not _is_constant(hint):
            yield Setting(path + name, _yaml(value), words(hint), texts.get(name, ""), depth)
    for name, kind, value in parts:
        registry = config.registries().get(kind, {})
        named = config.name_of(kind, value) if registry else ""
        text = texts.get(name) or ("" if type(value) in told else _summary(type(value)))
        expected = f"one of {', '.join(registry)}, or package.module:Class" if registry else ""
        yield Setting(path + name, named, expected, text, depth + 1, part=True)
        yield from _settings(value, f"{path}{name}.", depth + 1, told)


def _part(hint: Any) -> type | None:
    """The registered kind or the dataclass that a field holds, if it holds one."""
    for alternative in fields.alternatives(hint):
        kind = get_args(alternative)[0] if get_origin(alternative) is Annotated else alternative
        if isinstance(kind, type) and (kind in config.registries() or dataclasses.is_dataclass(kind)):
            return kind
    return None


def _is_constant(hint: Any) -> bool:
    """A field of one choice, which marks what a file is of and is not for setting."""
    return get_origin(hint) is Literal and len(get_args(hint)) == 1


def words(hint: Any) -> str:
    """A type hint as `fields.describe` has it, in the spelling of YAML."""
    options = fields.alternatives(hint)
    if len(options) > 1:
        return " or ".join(words(option) for option in options)
    if hint is type(None):
        return "null"
    if get_origin(hint) is Literal:
        *first, last = map(_yaml, get_args(hint))
        return f"{', '.join(first)} or {last}" if first else last
    if dataclasses.is_dataclass(hint):
        return f"a mapping of {', '.join(field.name for field in dataclasses.fields(hint))}"
    return fields.describe(hint)


def _yaml(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    return repr(value) if isinstance(value, float) else json.dumps(value, default=str)


def _summary(cls: type) -> str:
    """The first paragraph of a docstring that someone wrote, in one line, without its full stop."""
    first = (inspect.cleandoc(cls.__dict__.get("__doc__") or "")).partition("\n\n")[0]
    return "" if first.startswith(f"{cls.__name__}(") else " ".join(first.split()).rstrip(".")


# --- comments ---------------------------------------------------------------------------------------------------------


@cache
def comments(cls: type) -> Mapping[str, str]:
    """What the source says of each field: the comment on its line, else `name: …` in the docstring; {} without source.

    A field that a subclass gives another default keeps the words of the class above.
    """
    found: dict[str, str] = {}
    for owner in cls.__mro__:
        if dataclasses.is_dataclass(owner):
            found = _explained(owner) | _commented(owner) | found
    return found


def _commented(cls: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(cls))
        body: Any = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    of_line = {
        token.start[0]: _text(token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and of_line.get(node.end_lineno or 0):
            found[node.target.id] = of_line[node.end_lineno or 0]
    return found


def _text(comment: str) -> str:
    """For readers of YAML, in which None is null."""
    return re.sub(r"\bNone\b", "null", NOT_FOR_READERS.sub("", comment.lstrip("# ")).strip())


def _explained(cls: type) -> dict[str, str]:
    """Sentences of the docstring such as `risk: how many deviations a plan loses.`, up to the paragraph's end."""
    names = "|".join(map(re.escape, inspect.get_annotations(cls)))
    found: dict[str, str] = {}
    for paragraph in (inspect.cleandoc(cls.__dict__.get("__doc__") or "")).split("\n\n") if names else ():
        named = rf"(?:^|(?<=[.;] ))((?:{names})(?:, (?:{names}))*)(?: \([^)]*\))?: "
        _, *pieces = re.split(named, " ".join(paragraph.split()))
        for fields_named, text in zip(pieces[::2], pieces[1::2], strict=True):
            found |= dict.fromkeys(fields_named.split(", "), _text(text).rstrip("."))
    return found
