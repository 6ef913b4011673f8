"""The kinds of runs there are, by name, and their settings from and to mappings and folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elites import config
from elites.runs.folder import RunFolder
from elites.runs.learn import LearnSettings
from elites.runs.pets import PETSSettings
from elites.runs.settings import RunSettings

KINDS: dict[str, type] = {"pets": PETSSettings, "learn": LearnSettings}
KIND = "kind"  # the key of config.yaml that says which

config.choices(RunSettings, KINDS)


def build(mapping: Mapping[str, Any], source: str = "settings") -> RunSettings:
    """Settings of the kind that the mapping names: one of KINDS, or package.module:Class."""
    named = {"name": kind_of(mapping)}
    base: Any = RunSettings  # abstract, which `config.build` chooses from
    found: RunSettings = config.build(base, named | {k: value for k, value in mapping.items() if k != KIND}, source)
    return found


def dump(settings: RunSettings) -> dict[str, Any]:
    """What `build` makes the settings of, every default spelled out."""
    return {KIND: name_of(type(settings))} | config.dump(settings)


def name_of(kind: type) -> str:
    names = {known: name for name, known in KINDS.items()}
    return names.get(kind, f"{kind.__module__}:{kind.__qualname__}")


def kind_of(mapping: Mapping[str, Any]) -> str:
    """The kind that a mapping names; a file of the first edition names none, and is told by its keys."""
    return str(mapping.get(KIND, "learn" if "agent" in mapping else "pets"))


def mapping_of(folder: Path) -> dict[str, Any]:
    """What the config.yaml of a run holds."""
    RunFolder.resume(folder)
    return config.load(folder / "config.yaml")


def settings_of(folder: Path) -> RunSettings:
    """Those that a run was begun or last gone on with."""
    return build(mapping_of(folder), str(folder / "config.yaml"))
