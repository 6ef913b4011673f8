from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Generator, tensor

from elites import Box, Choices, Space


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


def test_the_centre_of_a_subnormal_point_is_the_point() -> None:
    odd = torch.tensor([6.0e-43, 1e-45])
    assert torch.equal(Box(odd, odd).centre, odd)


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


# --- choices ----------------------------------------------------------------------------------------------------------


def test_gymnasiums_spaces() -> None:
    assert Space.of(spaces.Discrete(3, start=5)) == Choices((3,), (5,))
    assert Space.of(spaces.MultiDiscrete([2, 3], start=[0, 7])) == Choices((2, 3), (0, 7), single=False)
    assert isinstance(Space.of(spaces.Box(-1, 1, (2,))), Box)
    assert Space.of(Choices((2,)), dtype=torch.float64).dtype == torch.float64
    for other in (spaces.MultiBinary(3), spaces.Text(4), spaces.MultiDiscrete([[2, 2]])):
        with pytest.raises(ValueError, match=r"^Space\.of: expected a"):
            Space.of(other)


def test_points_are_one_hot_rows_by_hand() -> None:
    both = Choices((2, 3), (0, 7), single=False)
    assert both.shape == (5,)
    point = both.project(tensor([0.1, 0.4, -1.0, 2.0, 2.0]))
    assert point.tolist() == [0, 1, 0, 1, 0]
    assert both.to_env(point).tolist() == [1, 8]
    assert both.from_env(np.array([1, 8])).tolist() == point.tolist()
    one = Choices((3,), (5,)).repeat(4)
    assert one.shape == (4, 3)
    assert one.centre.tolist() == [[1, 0, 0]] * 4
    assert one.to_env(one.centre).tolist() == [5] * 4


def test_choices_drawn_at_random() -> None:
    space = Choices((2, 4), single=False)
    points = space.uniform(4000, Generator().manual_seed(0))
    assert torch.equal(points, space.project(points))
    assert (points.mean(0) - tensor([0.5, 0.5, 0.25, 0.25, 0.25, 0.25])).abs().max() < 0.03


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(((),), "at least one answer"), (((0,),), "at least one answer"), (((2, 2),), "one question if single")],
)
def test_choices_that_are_none(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Choices(*arguments)
