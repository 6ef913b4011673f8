"""Reads YAML files into dataclasses: `build(CEMGD, load("cem_gd.yaml"))`."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

import yaml

from elites import fields

T = TypeVar("T")

_registries: dict[type, Mapping[str, type]] = {}
_renamed: dict[type, Mapping[str, str]] = {}


def choices(kind: type, registry: Mapping[str, type], renamed: Mapping[str, str] = MappingProxyType({})) -> None:
    """Registers the classes that `name: …` can pick for a field of type `kind`, such as a Protocol.

    renamed: {an old name: its new name}.
    """
    _registries[kind], _renamed[kind] = registry, renamed


def registries() -> Mapping[type, Mapping[str, type]]:
    """{kind: {name: dataclass}}, as registered with `choices`."""
    return _registries


def name_of(kind: type, value: Any) -> str:
    """The `name:` that picks this value's dataclass."""
    names = {registered: name for name, registered in _registries[kind].items()}
    return names.get(type(value), f"{type(value).__module__}:{type(value).__qualname__}")


def load(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return _mapping(_parse(text, str(path)), str(path))


def named(text: str) -> dict[str, Any]:
    """The mapping for a flag such as `--planner`: a registered name, `package.module:Class`, or a YAML file."""
    return load(text) if text.endswith((".yaml", ".yml")) else {"name": text}


def override(mapping: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy with assignments such as `planner.cold.samples=3000` applied. The values are YAML."""
    result: dict[str, Any] = _copy(mapping)
    for assignment in assignments:
        keys, equals, text = assignment.partition("=")
        *path, last = keys.strip().split(".")
        if not equals or not all((*path, last)):
            raise ValueError(f"--set {assignment}: expected KEY=VALUE, for example planner.samples=200")
        node = result
        for depth, key in enumerate(path):
            if isinstance(node.get(key), str) and key != "name":  # `planner: cem` for `planner: {name: cem}`
                node[key] = {"name": node[key]}
            if node.get(key) is None:  # a part that the mapping lacks
                node[key] = {}
            node = node[key]
            if not isinstance(node, dict):
                raise ValueError(f"--set {assignment}: {'.'.join(path[: depth + 1])} is {node!r}, which has no keys")
        node[last] = _parse(text, f"--set {assignment}")
    return result


def build(cls: type[T], mapping: Mapping[str, Any], source: str = "config") -> T:
    """An instance of the dataclass `cls` from a mapping. If `cls` has a registry, `name:` picks the dataclass.

    Values recurse by type hint. A key that is not given keeps its default, also inside a default part:
    `cold: {samples: 500}` changes CEM-GD's own cold search. Messages name `source` (the file) and the key at fault.
    """
    return cast(T, _build(cls, mapping, source, "", None))


def dump(instance: Any, kind: type | None = None) -> dict[str, Any]:
    """The mapping from which `build` makes this dataclass, with every default. kind: adds the class's `name:`."""
    cls: Any = type(instance)
    values = {name: _dump(getattr(instance, name), hint) for name, hint in fields.hints(cls).items()}
    return values if kind is None else {"name": name_of(kind, instance)} | values


def _dump(value: Any, hint: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if not dataclasses.is_dataclass(value):
        return value
    kinds = [kind for kind in fields.alternatives(hint) if kind in _registries]
    return dump(value, kinds[0] if kinds else None)


def _build(cls: type, mapping: Any, source: str, path: str, default: Any) -> Any:
    arguments = _mapping(mapping, f"{source}: {path}" if path else source)
    chosen = cls
    if cls in _registries:
        name = arguments.pop("name", None)
        chosen = type(default) if name is None and default is not None else _pick(cls, name, source, path)
    known = fields.hints(chosen)
    for key in arguments:
        if key in (old := getattr(chosen, "RENAMED", {})):
            raise ValueError(f"{source}: {_join(path, key)}: {fields.renamed(key, old[key])}")
        if key not in known:
            raise ValueError(f"{source}: {_join(path, key)}: unknown key; {_nearest(str(key), known)}")
    defaults = _defaults(chosen) if type(default) is not chosen else {key: getattr(default, key) for key in known}
    values = dict(defaults)
    for key, value in arguments.items():
        values[key] = _value(known[key], value, source, _join(path, key), defaults.get(key))
    for key in known.keys() - values.keys():
        raise ValueError(f"{source}: {_join(path, key)}: missing; expected {fields.describe(known[key])}")
    try:
        return chosen(**values)
    except ValueError as error:  # a rule that only the dataclass knows, such as elites <= samples
        raise ValueError(f"{source}: {path + ': ' if path else ''}{error}") from None


def _value(hint: Any, value: Any, source: str, path: str, default: Any = None) -> Any:
    for alternative in fields.alternatives(hint):
        kind = get_args(alternative)[0] if get_origin(alternative) is Annotated else alternative
        if isinstance(kind, type) and (kind in _registries or dataclasses.is_dataclass(kind)):
            if isinstance(value, kind):
                return value
            if isinstance(value, str) and kind in _registries:  # `proposal: clipped` for `proposal: {name: clipped}`
                value = {"name": value}
            if isinstance(value, Mapping):
                return _build(kind, value, source, path, default if isinstance(default, kind) else None)
        if kind is float and isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
            value = float(value)  # YAML 1.1 reads 1e-3 as a string
        if get_origin(kind) is tuple and isinstance(value, list):
            value = tuple(_value(get_args(kind)[0], item, source, f"{path}[{i}]") for i, item in enumerate(value))
    if not fields.fits(value, hint):
        raise ValueError(f"{source}: {path}: {fields.mismatch(value, hint)}")
    return value


def _pick(kind: type, name: Any, source: str, path: str) -> type:
    where = f"{source}: {_join(path, 'name')}"
    registry = _registries[kind]
    if not isinstance(name, str):
        raise ValueError(f"{where}: expected one of {', '.join(registry)}, or package.module:Class, got {name!r}")
    if name in registry:
        return registry[name]
    if name in _renamed[kind]:
        raise ValueError(f"{where}: {fields.renamed(name, _renamed[kind][name])}")
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(f"{where}: unknown {kind.__name__.lower()} {name!r}; {_nearest(name, registry)}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{where}: {name!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and dataclasses.is_dataclass(found) and issubclass(found, kind)):
        raise ValueError(f"{where}: expected a dataclass that is a {kind.__name__}, got {found!r}")
    return found


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: expected a mapping of keys to values, got {value!r}")
    return dict(value)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def _defaults(cls: type) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(cls):
        if field.init and field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.init and field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def _nearest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known) or 'none'}"


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
