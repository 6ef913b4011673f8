"""The scripts of benchmarks/ as modules."""

from __future__ import annotations

from types import ModuleType

import pytest
from scripts import loaded


@pytest.fixture(scope="session")
def promise() -> ModuleType:
    return loaded("benchmarks/promise.py")


@pytest.fixture(scope="session")
def particles() -> ModuleType:
    return loaded("benchmarks/particles.py")


@pytest.fixture(scope="session")
def scaling() -> ModuleType:
    return loaded("benchmarks/scaling.py")


@pytest.fixture(scope="session")
def models() -> ModuleType:
    return loaded("benchmarks/models.py")


@pytest.fixture(scope="session")
def divergence() -> ModuleType:
    return loaded("benchmarks/divergence.py")


@pytest.fixture(scope="session")
def film() -> ModuleType:
    return loaded("benchmarks/film.py")
