"""The scripts of docs/ as modules."""

from __future__ import annotations

from types import ModuleType

import pytest
from scripts import loaded


@pytest.fixture(scope="session")
def prose() -> ModuleType:
    return loaded("docs/prose.py")


@pytest.fixture(scope="session")
def run_notebooks() -> ModuleType:
    return loaded("docs/run_notebooks.py")


@pytest.fixture(scope="session")
def check_site() -> ModuleType:
    return loaded("docs/check_site.py")
