"""The kinds of runs by name, and their settings from and to mappings and folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elites import config
from elites.runs.conversion import settings_converted
from elites.runs.folder import RunFolder
from elites.runs.learn import LearnSettings
from elites.runs.pets import PETSSettings
from elites.runs.search import SearchSettings
from elites.runs.settings import RunSettings

KINDS: dict[str, type] = {"pets": PETSSettings, "learn": LearnSettings, "search": SearchSettings}
KIND = "kind"  # the key in config.yaml

config.choices(RunSettings, KINDS)


def build(mapping: Mapping[str, Any], source: str = "settings") -> RunSettings:
    """Builds settings of the kind that the mapping names: one of KINDS, or package.module:Class."""
    named = {"name": kind_of(mapping)}
    base: Any = RunSettings  # abstract; `config.build` picks the class by name
    found: RunSettings = config.build(base, named | {k: value for k, value in mapping.items() if k != KIND}, source)
    return found


def dump(settings: RunSettings) -> dict[str, Any]:
    """The mapping from which `build` makes the settings, with every default."""
    return {KIND: name_of(type(settings))} | config.dump(settings)


def name_of(kind: type) -> str:
    names = {known: name for name, known in KINDS.items()}
    return names.get(kind, f"{kind.__module__}:{kind.__qualname__}")


def kind_of(mapping: Mapping[str, Any]) -> str:
    """The kind that a mapping names. An old file names none, so its keys decide."""
    return str(mapping.get(KIND, "learn" if "agent" in mapping else "pets"))


def mapping_of(folder: Path) -> dict[str, Any]:
    """The mapping in a run's config.yaml."""
    RunFolder.resume(folder)
    return settings_converted(config.load(folder / "config.yaml"))


def settings_of(folder: Path) -> RunSettings:
    """The settings with which a run was begun, or last resumed."""
    return build(mapping_of(folder), str(folder / "config.yaml"))
