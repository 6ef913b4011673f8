"""Describes a dataclass of settings: every field's type, range, value and comment, also of the parts below it.

`describe(Settings, {"planner": {"name": "cem"}})` lists `planner.samples` and CEM's other fields.
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

WIDEST, NARROWEST = 110, 40  # characters in a line; characters for its words
LONGEST_KEY, LONGEST_VALUE = 32, 16  # characters in a column; a longer one has its own line
NOT_FOR_READERS = re.compile(r"\s*#?\s*(noqa|type:|pragma).*")


@dataclass(frozen=True)
class Setting:
    """One key that a mapping for `config.build` can hold."""

    key: str  # planner.cold.samples
    value: str  # as YAML; empty if the key only has keys below it
    expected: str  # its type in words
    text: str  # its meaning
    depth: int  # 0 for a field of the dataclass itself; a part is one deeper than its owner
    part: bool = False  # whether its own keys follow

    def said(self) -> list[str]:
        """Paragraphs: the meaning and the expected type."""
        if self.part:
            return [text for text in (self.text, self.expected) if text]
        return [f"{self.text} ({self.expected})" if self.text else self.expected]


def describe(cls: type, mapping: Mapping[str, Any] | None = None, source: str = "settings") -> list[Setting]:
    """Every setting of the dataclass `cls`, leaves before parts, with the values that `mapping` gives."""
    return explain(config.build(cls, mapping or {}, source))


def explain(settings: Any) -> list[Setting]:
    """Every setting of an instance, with its values."""
    return list(_settings(settings, "", 0, set()))


def lines(settings: Sequence[Setting], width: int) -> str:
    """A table: the key, its value, its meaning and its type."""
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
    """told: classes explained so far. A second part of the same class shows only types and values."""
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
    """Whether a field has only one choice. Such a field marks the kind of a file; users do not set it."""
    return get_origin(hint) is Literal and len(get_args(hint)) == 1


def words(hint: Any) -> str:
    """A type hint in words, as in `fields.describe`, in the spelling of YAML."""
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
    """The first paragraph of a handwritten docstring, in one line, without its full stop."""
    first = (inspect.cleandoc(cls.__dict__.get("__doc__") or "")).partition("\n\n")[0]
    return "" if first.startswith(f"{cls.__name__}(") else " ".join(first.split()).rstrip(".")


# --- comments ---------------------------------------------------------------------------------------------------------


@cache
def comments(cls: type) -> Mapping[str, str]:
    """{field: its text in the source}: the comment on its line, else `name: …` in the docstring. {} without source.

    If a subclass only changes a field's default, the field keeps the text of the base class.
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
    if not isinstance(body, ast.ClassDef):  # Python 3.13 and later may find other lines for a class without a file
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
