"""Arguments of the library's small functions, as in kernel/interface.h; and many calls in one."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int64, c_void_p

from elites.networks import library


class Point(ctypes.Structure):
    _fields_ = (*library.fields(c_int64, "count"), *library.fields(c_void_p, "outputs action action_grad outputs_grad"))


class Perturb(ctypes.Structure):
    _fields_ = (
        *library.fields(c_int64, "count"),
        *library.fields(c_void_p, "action noise to"),
        *library.fields(c_float, "spread clip"),
    )


class Beside(ctypes.Structure):
    _fields_ = (
        *library.fields(c_int64, "members rows left right"),
        *library.fields(c_void_p, "first second both both_grad second_grad"),
    )


class Target(ctypes.Structure):
    _fields_ = (
        *library.fields(c_int64, "members rows"),
        *library.fields(c_void_p, "values reward density terminated"),
        *library.fields(c_float, "discount alpha"),
        *library.fields(c_void_p, "target"),
    )


class Climb(ctypes.Structure):
    _fields_ = (
        *library.fields(c_int64, "members rows"),
        *library.fields(c_void_p, "values density"),
        *library.fields(c_float, "alpha"),
        *library.fields(c_void_p, "loss rates"),
    )


class Step(ctypes.Structure):
    _fields_ = tuple(library.fields(c_void_p, "function given"))


class Calls:
    """Functions of the library, run one after another by one call. Their structures can change between calls."""

    def __init__(self, *calls: tuple[str, ctypes.Structure]) -> None:
        self.given = [structure for _, structure in calls]
        functions = [ctypes.cast(getattr(library.LIBRARY, name), c_void_p) for name, _ in calls]
        both = zip(functions, self.given, strict=True)
        self.steps = (Step * len(calls))(*(Step(function, ctypes.addressof(given)) for function, given in both))
        self.count, self.place = c_int64(len(calls)), c_void_p(ctypes.addressof(self.steps))

    def __call__(self) -> None:
        library.LIBRARY.elites_steps(self.count, self.place)
