"""Tests with `kernel` run once for each instruction set of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from elites.networks import library


@pytest.fixture(params=library.kernels())
def kernel(request: Any) -> Iterator[str]:
    library.choose(request.param)
    yield request.param
    library.choose(library.kernels()[0])
