"""The sets that a search stays inside: boxes of numbers, and choices among a few answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from elites.fields import Count, check

if TYPE_CHECKING:
    from typing_extensions import Self


class Space(ABC):
    """A set of points of shape (*E). A search takes over its dtype and device."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    centre: Tensor  # (*E): the point to fall back on

    @staticmethod
    def of(space: Any, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Space:
        """From a Gymnasium Box, Discrete or MultiDiscrete space, or from one of ours."""
        if isinstance(space, Space):
            return space.to(dtype=dtype, device=device)
        if hasattr(space, "nvec"):  # MultiDiscrete
            sizes, starts = np.asarray(space.nvec), np.asarray(space.start)
            if sizes.ndim != 1:
                raise ValueError(f"Space.of: expected a MultiDiscrete space of one axis, got {space!r}")
            found: Space = Choices(tuple(sizes.tolist()), tuple(starts.tolist()), single=False)
        elif hasattr(space, "n") and hasattr(space, "start"):  # Discrete
            found = Choices((int(space.n),), (int(space.start),))
        elif hasattr(space, "low") and hasattr(space, "high"):
            found = Box(space.low, space.high)
        else:
            raise ValueError(f"Space.of: expected a Box, Discrete or MultiDiscrete space, got {space!r}")
        return found.to(dtype=dtype, device=device)

    @abstractmethod
    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self: ...

    @abstractmethod
    def repeat(self, horizon: int) -> Self:
        """(*E) -> (H, *E): the same at every step of a horizon."""

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the space. x: (..., *E)."""

    @abstractmethod
    def uniform(self, count: int, rng: Generator) -> Tensor:
        """(count, *E): random points."""

    @abstractmethod
    def to_env(self, point: Tensor) -> Tensor:
        """Points (..., *E) -> the environment's actions."""

    @abstractmethod
    def from_env(self, action: Any) -> Tensor:
        """The environment's actions -> points (..., *E)."""


@dataclass(frozen=True, eq=False, init=False)
class Box(Space):
    """Points x with low <= x <= high, elementwise. low, high: (*E), of one dtype and device.

    A bound can be infinite. `Box([-1.0], [1.0])` accepts the same values as `torch.tensor`.
    """

    low: Tensor
    high: Tensor
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    bounded: bool  # every bound is finite; stored, so a search need not ask the device
    unit: bool  # it is [-1, 1] in every dimension; stored for the same reason
    centre: Tensor  # (*E): the middle; in an unbounded dimension the point nearest to 0
    half: Tensor  # (*E): half the width, a search's unit for its spread; in an unbounded dimension 1

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
        """These bounds in another form. They are valid already, so nothing checks them."""
        box = object.__new__(Box)
        box._set(low, high, self.bounded, self.unit)
        return box

    def _set(self, low: Tensor, high: Tensor, bounded: bool, unit: bool) -> None:
        middle, half = low / 2 + high / 2, high / 2 - low / 2
        centre = torch.where(middle.isfinite(), middle, 0).clamp(low, high)  # half of a subnormal number is rounded
        half = torch.where(half.isfinite(), half, torch.ones_like(half))
        values: dict[str, Any] = {
            "low": low,
            "high": high,
            "bounded": bounded,
            "unit": unit,
            "centre": centre,
            "half": half,
        }
        values |= {"shape": low.shape, "dtype": low.dtype, "device": low.device}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the box. x: (..., *E)."""
        return torch.clamp(x, self.low, self.high)

    def to_unit(self, x: Tensor) -> Tensor:
        """The position in half widths from the centre: in [-1, 1] if the box is bounded. x: (..., *E)."""
        return (x - self.centre) / self.half.clamp_min(torch.finfo(x.dtype).tiny)

    def from_unit(self, u: Tensor) -> Tensor:
        return self.project(torch.addcmul(self.centre, self.half, u))

    def to_env(self, point: Tensor) -> Tensor:
        return point

    def from_env(self, action: Any) -> Tensor:
        return torch.as_tensor(action).to(self.low)

    def uniform(self, count: int, rng: Generator) -> Tensor:
        """(count, *E): random points of the box. In an unbounded dimension they are within 1 of the centre."""
        draw = torch.rand(count, *self.shape, generator=rng, dtype=self.dtype, device=self.device)
        return self.from_unit(2 * draw - 1)


@dataclass(frozen=True)
class Choices(Space):
    """One answer to each of several questions. A point is a one-hot row for each, side by side: sum(sizes) entries.

    sizes: the number of answers to each question. starts: the environment's number for the first answer to each.
    single: there is only one question, and the environment takes one number instead of a row of numbers.
    """

    sizes: tuple[int, ...]
    starts: tuple[int, ...] = ()
    single: bool = True
    lead: tuple[int, ...] = ()  # axes before the questions', such as time
    dtype: torch.dtype = field(default_factory=torch.get_default_dtype)
    device: torch.device = torch.device("cpu")
    shape: torch.Size = field(init=False, compare=False)
    centre: Tensor = field(init=False, compare=False, repr=False)  # (*E): the first answer to every question

    def __post_init__(self) -> None:
        if not self.starts:
            object.__setattr__(self, "starts", (0,) * len(self.sizes))
        if not self.sizes or any(size < 1 for size in self.sizes) or len(self.starts) != len(self.sizes):
            raise ValueError(f"Choices: expected at least one answer to each question, got {self.sizes} {self.starts}")
        if self.single and len(self.sizes) > 1:
            raise ValueError(f"Choices: expected one question if single, got {self.sizes}")
        object.__setattr__(self, "shape", torch.Size((*self.lead, sum(self.sizes))))
        first = torch.zeros((*self.lead, len(self.sizes)), dtype=torch.long, device=self.device)
        object.__setattr__(self, "centre", self.rows(first))

    def __repr__(self) -> str:
        return f"Choices({self.sizes}{f', {self.starts}' if any(self.starts) else ''})"

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Choices:
        return replace(self, dtype=dtype or self.dtype, device=torch.device(device or self.device))

    def repeat(self, horizon: int) -> Choices:
        check("Choices.repeat: horizon", horizon, Count)
        return replace(self, lead=(horizon, *self.lead))

    def blocks(self, x: Tensor) -> tuple[Tensor, ...]:
        """(..., sum(sizes)) -> each question's entries, (..., size)."""
        return torch.split(x, list(self.sizes), -1)

    def answers(self, x: Tensor) -> Tensor:
        """(..., sum(sizes)) -> the index of each question's largest entry, (..., questions)."""
        return torch.stack([block.argmax(-1) for block in self.blocks(x)], -1)

    def rows(self, answers: Tensor) -> Tensor:
        """Indices (..., questions) -> points (..., sum(sizes))."""
        each = zip(answers.unbind(-1), self.sizes, strict=True)
        hot = [answer.unsqueeze(-1) == torch.arange(size, device=answer.device) for answer, size in each]
        return torch.cat(hot, -1).to(self.dtype)

    def project(self, x: Tensor) -> Tensor:
        """The answers with the largest entries. If entries are equal, the first counts."""
        return self.rows(self.answers(x))

    def uniform(self, count: int, rng: Generator) -> Tensor:
        each = [torch.randint(size, (count, *self.lead), generator=rng, device=self.device) for size in self.sizes]
        return self.rows(torch.stack(each, -1))

    def to_env(self, point: Tensor) -> Tensor:
        """(..., sum(sizes)) -> integers: (...) if `single`, else (..., questions)."""
        numbers = self.answers(point) + torch.tensor(self.starts, device=point.device)
        return numbers.squeeze(-1) if self.single else numbers

    def from_env(self, action: Any) -> Tensor:
        numbers = torch.as_tensor(action, device=self.device)
        numbers = numbers.unsqueeze(-1) if self.single else numbers
        return self.rows(numbers - torch.tensor(self.starts, device=self.device))


def _bound(name: str, value: Any) -> Tensor:
    try:
        bound = value if isinstance(value, Tensor) else torch.tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"Box.{name}: expected a tensor, an array or numbers, got {value!r}") from error
    return bound if bound.is_floating_point() else bound.to(torch.get_default_dtype())
