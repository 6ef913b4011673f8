"""The set that a search stays inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from elites.fields import Count, check


@dataclass(frozen=True, eq=False, init=False)
class Box:
    """Points x with low <= x <= high, elementwise. low, high: (*E), of one dtype and device, which a search takes over.

    A bound may be infinite. `Box([-1.0], [1.0])` takes whatever `torch.tensor` takes.
    """

    low: Tensor
    high: Tensor
    bounded: bool  # every bound is finite; known once, so that a search need not ask the device
    unit: bool  # it is [-1, 1] in every dimension; known once as well
    centre: Tensor  # (*E): the middle; of an unbounded dimension the point nearest 0
    half: Tensor  # (*E): half the width, the unit in which a search measures its spread; of an unbounded dimension 1

    def __init__(self, low: Any, high: Any) -> None:
        low, high = _bound("low", low), _bound("high", high)
        if low.shape != high.shape or low.dtype != high.dtype or low.device != high.device:
            raise ValueError(
                f"Box: expected low and high of one shape, dtype and device, got {tuple(low.shape)} {low.dtype} on "
                f"{low.device} and {tuple(high.shape)} {high.dtype} on {high.device}"
            )
        if low.isnan().any() or high.isnan().any():
            raise ValueError("Box: expected bounds that are numbers, got NaN")
        if (low > high).any():
            index = tuple((low > high).nonzero()[0].tolist())
            raise ValueError(f"Box: expected low <= high, got low = {low[index]} > high = {high[index]} at {index}")
        if low.isposinf().any() or high.isneginf().any():
            raise ValueError("Box: expected low < inf and high > -inf, got a box without a finite point")
        unit = bool((low == -1).all() and (high == 1).all())
        self._set(low, high, bool(low.isfinite().all() and high.isfinite().all()), unit)

    @classmethod
    def of(cls, space: Any, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Box:
        """From anything with `low` and `high`: a Gymnasium Box space, or a Box."""
        if not (hasattr(space, "low") and hasattr(space, "high")):
            raise ValueError(f"Box.of: expected a Box space with low and high, got {space!r}")
        return cls(space.low, space.high).to(dtype=dtype, device=device)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Box:
        return self._same(self.low.to(dtype=dtype, device=device), self.high.to(dtype=dtype, device=device))

    def repeat(self, horizon: int) -> Box:
        """(*E) -> (H, *E): the same bounds at every step of a horizon."""
        check("Box.repeat: horizon", horizon, Count)
        return self._same(self.low.expand(horizon, *self.shape), self.high.expand(horizon, *self.shape))

    def _same(self, low: Tensor, high: Tensor) -> Box:
        """These bounds in another form; they were checked when they came in."""
        box = object.__new__(Box)
        box._set(low, high, self.bounded, self.unit)
        return box

    def _set(self, low: Tensor, high: Tensor, bounded: bool, unit: bool) -> None:
        middle, half = low / 2 + high / 2, high / 2 - low / 2
        centre = torch.where(middle.isfinite(), middle, torch.zeros_like(middle).clamp(low, high))
        half = torch.where(half.isfinite(), half, torch.ones_like(half))
        values = {"low": low, "high": high, "bounded": bounded, "unit": unit, "centre": centre, "half": half}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the box. x: (..., *E)."""
        return torch.clamp(x, self.low, self.high)

    def to_unit(self, x: Tensor) -> Tensor:
        """Where in the box, in half widths from its centre: [-1, 1] where it is bounded. x: (..., *E)."""
        return (x - self.centre) / self.half.clamp_min(torch.finfo(x.dtype).tiny)

    def from_unit(self, u: Tensor) -> Tensor:
        return self.project(torch.addcmul(self.centre, self.half, u))

    def uniform(self, count: int, rng: Generator) -> Tensor:
        """(count, *E): so many points of a bounded box, or of [-1, 1] where it has no bounds."""
        draw = torch.rand(count, *self.shape, generator=rng, dtype=self.dtype, device=self.device)
        return self.from_unit(2 * draw - 1)

    @property
    def shape(self) -> torch.Size:
        return self.low.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.low.dtype

    @property
    def device(self) -> torch.device:
        return self.low.device


def _bound(name: str, value: Any) -> Tensor:
    try:
        bound = value if isinstance(value, Tensor) else torch.tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"Box.{name}: expected a tensor, an array or numbers, got {value!r}") from error
    return bound if bound.is_floating_point() else bound.to(torch.get_default_dtype())
