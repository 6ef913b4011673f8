from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from elites import Box


def test_from_a_space_and_over_a_horizon() -> None:
    space = gymnasium.spaces.Box(np.array([-1, 0], np.float32), np.array([1, 4], np.float32))
    box = Box.of(space).repeat(3)
    assert box.shape == (3, 2)
    assert box.dtype == torch.float32
    assert box.centre.tolist() == [[0, 2]] * 3
    assert box.half.tolist() == [[1, 2]] * 3
    assert box.project(torch.full((3, 2), 9.0)).tolist() == [[1, 4]] * 3
    assert Box.of(box, dtype=torch.float64).dtype == torch.float64


def test_a_box_is_its_own() -> None:
    low = np.zeros(2)
    low.flags.writeable = False
    box = Box(low, np.ones(2))
    assert box.dtype == torch.float64
    high = np.ones(2)
    box = Box(low, high)
    high[:] = -5
    assert box.high.tolist() == [1, 1]


def test_an_unbounded_dimension_has_a_centre_and_a_unit() -> None:
    box = Box([-math.inf, 2.0, -math.inf], [math.inf, math.inf, -3.0])
    assert box.centre.tolist() == [0, 2, -3]
    assert box.half.tolist() == [1, 1, 1]
    assert not box.bounded
    assert Box([-1.0], [1.0]).bounded


def test_it_knows_the_unit_cube() -> None:
    cube = Box([-1.0, -1.0], [1.0, 1.0])
    assert cube.unit
    assert cube.repeat(3).to(dtype=torch.float64).unit
    assert not Box([-1.0, -1.0], [1.0, 2.0]).unit


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([0.0, 2.0], [1.0, 1.0], r"expected low <= high, got low = 2.0 > high = 1.0 at \(1,\)"),
        ([math.nan], [1.0], "expected bounds that are numbers, got NaN"),
        ([0.0], [1.0, 2.0], r"expected low and high of one shape, .*\(1,\).*\(2,\)"),
        (torch.zeros(1), torch.ones(1).double(), "one shape, dtype and device, .*float32.*float64"),
        ([math.inf], [math.inf], "without a finite point"),
        ("low", [1.0], "Box.low: expected a tensor, an array or numbers, got 'low'"),
    ],
)
def test_wrong_bounds_are_named(low: Any, high: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Box(low, high)


def test_what_is_no_box_is_named() -> None:
    with pytest.raises(ValueError, match=r"Box\.of: expected a Box space with low and high, got Discrete\(3\)"):
        Box.of(gymnasium.spaces.Discrete(3))
    with pytest.raises(ValueError, match=r"Box\.repeat: horizon: expected an integer of at least 1, got 0"):
        Box([0.0], [1.0]).repeat(0)
