"""Hyperparameters that know their range: `samples: Count = 100`, checked when the dataclass is made."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

if TYPE_CHECKING:
    from typing_extensions import Self

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Range:
    """low <= x <= high, or low < x <= high if `open`."""

    low: float
    high: float = math.inf
    open: bool = False

    def __contains__(self, x: float) -> bool:
        return (self.low < x if self.open else self.low <= x) and x <= self.high and math.isfinite(x)

    def __str__(self) -> str:
        if self.high < math.inf:
            return f"in {'(' if self.open else '['}{self.low}, {self.high}]"
        return f"{'above' if self.open else 'of at least'} {self.low}"


Count = Annotated[int, Range(1)]
Fraction = Annotated[float, Range(0, 1)]
Rate = Annotated[float, Range(0, 1, open=True)]
Positive = Annotated[float, Range(0, open=True)]
NonNegative = Annotated[float, Range(0)]


class Checked:
    """A dataclass that checks its fields against their types when it is made. An old field name raises the new one."""

    RENAMED: ClassVar[Mapping[str, str]] = {}  # {an old name: its new name}

    def __new__(cls, *args: Any, **arguments: Any) -> Self:
        for old in cls.RENAMED.keys() & arguments.keys():
            raise TypeError(f"{cls.__name__}: {renamed(old, cls.RENAMED[old])}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        cls: Any = type(self)
        for name, hint in hints(cls).items():
            check(f"{cls.__name__}.{name}", getattr(self, name), hint)


def renamed(old: str, new: str) -> str:
    return f"{old!r} belongs to {new} now" if "(" in new else f"{old!r} is now called {new!r}"


def renaming(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function: an argument's old name raises an error that gives the new one."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **arguments: P.kwargs) -> R:
            for old in names.keys() & arguments.keys():
                name = function.__qualname__.removesuffix(".__init__")
                raise TypeError(f"{name}: {renamed(old, names[old])}")
            return function(*args, **arguments)

        return call

    return decorated


def check(name: str, value: Any, hint: Any) -> None:
    """Raises a ValueError with the expected type if the value does not fit the type hint."""
    if not fits(value, hint):
        raise ValueError(f"{name}: {mismatch(value, hint)}")


@cache
def hints(cls: Any) -> Mapping[str, Any]:
    """{field name: type hint} of a dataclass's constructor."""
    resolved = typing.get_type_hints(cls, include_extras=True)
    return {f.name: resolved[f.name] for f in dataclasses.fields(cls) if f.init}


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, arg) for arg in args)
    if origin is Annotated:
        return fits(value, args[0]) and all(value in limit for limit in args[1:] if isinstance(limit, Range))
    if origin is Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if hint is None:
        return value is None
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)  # NumPy's integers too
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return isinstance(value, tuple) and all(fits(item, args[0]) for item in value)
    return isinstance(value, origin or hint)


def mismatch(value: Any, hint: Any) -> str:
    return f"expected {describe(hint)}, got {value!r}"


def describe(hint: Any) -> str:
    """A type hint in words: `an integer of at least 1`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(arg) for arg in args)
    if origin is Annotated:
        return " ".join([describe(args[0]), *(str(limit) for limit in args[1:])])
    if origin is Literal:
        return " or ".join(repr(arg) for arg in args)
    if origin is tuple:
        return f"a list, each {describe(args[0])}"
    if origin is Callable:
        return "a function"
    words = {int: "an integer", float: "a number", str: "a string", bool: "true or false", type(None): "nothing"}
    return words.get(hint, f"a {getattr(hint, '__name__', hint)}")
