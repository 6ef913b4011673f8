"""The scripts of docs/ as modules, by their files: nothing is put on the path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / f"docs/{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def prose() -> ModuleType:
    return loaded("prose")


@pytest.fixture(scope="session")
def run_notebooks() -> ModuleType:
    return loaded("run_notebooks")


@pytest.fixture(scope="session")
def check_site() -> ModuleType:
    return loaded("check_site")
