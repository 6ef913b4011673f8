"""Loads scripts as modules from their files. Nothing is added to the path, because scripts import no siblings."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def loaded(file: str) -> ModuleType:
    """file: its path in the repository, such as docs/prose.py."""
    spec = importlib.util.spec_from_file_location(file.removesuffix(".py").replace("/", "_"), ROOT / file)
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
