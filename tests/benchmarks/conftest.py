"""Loads scripts as modules from their files. Nothing is added to the path, because scripts import no siblings."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / f"benchmarks/{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def promise() -> ModuleType:
    return loaded("promise")


@pytest.fixture(scope="session")
def particles() -> ModuleType:
    return loaded("particles")


@pytest.fixture(scope="session")
def scaling() -> ModuleType:
    return loaded("scaling")


@pytest.fixture(scope="session")
def models() -> ModuleType:
    return loaded("models")


@pytest.fixture(scope="session")
def divergence() -> ModuleType:
    return loaded("divergence")


@pytest.fixture(scope="session")
def film() -> ModuleType:
    return loaded("film")
