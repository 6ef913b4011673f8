"""Networks that learn on CPUs: the compiled kernel's forward and backward passes as a function of torch's autograd."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from elites.networks import library
from elites.networks.engine import Precision
from elites.networks.layers import network

if TYPE_CHECKING:
    from elites.networks.mlp import MLP

ACTIVATIONS = {"silu": 0, "tanh": 1, "leaky_relu": 2, "relu": 2, "elu": 3}  # as in kernel/interface.h
RATES = ("weight_grad", "bias_grad", "gain_grad", "offset_grad")


def compiled(mlp: MLP, x: Tensor) -> CompiledMLP | None:
    """The MLP in the kernel, for inputs (M or 1, R, in) or (R, in). None if torch must compute it."""
    if torch.compiler.is_compiling() or type(x) not in (Tensor, nn.Parameter):  # traced tensors have no data
        return None
    if library.LIBRARY is None or x.device.type != "cpu" or x.dtype != torch.float32:
        mlp.compiled = None
        return None
    networks = up_to_date(mlp)
    return networks if networks is not None and networks.takes(x) else None


def up_to_date(mlp: MLP) -> CompiledMLP | None:
    """The MLP in the library's form, with current addresses. None if the library cannot compute it."""
    if mlp.compiled is None or not mlp.compiled.fits(mlp):
        mlp.compiled = CompiledMLP(mlp) if library.serves(mlp.parts) else None
    return mlp.compiled


def through(mlp: MLP, networks: CompiledMLP, x: Tensor, count: int, flat: bool = False) -> Tensor:
    """(M or 1, R, in) or (R, in) -> (count, R, out) of the first `count` networks. flat: (count, R) for one output."""
    if not 0 < count <= networks.count:
        raise ValueError(f"MLP: expected some of {networks.count} networks, got {count}")
    if torch.is_grad_enabled() and (x.requires_grad or any(each.requires_grad for each in networks.parameters)):
        found: Tensor = _Through.apply(mlp, networks, count, flat, x, *networks.parameters)  # type: ignore[no-untyped-call]
        return found
    return networks.forward(x.contiguous(), count, flat, keep=False)[0]


class CompiledMLP:
    """An MLP in the library's form. It stays valid while the parameters stay at their addresses; values can change."""

    def __init__(self, mlp: MLP) -> None:
        a, self.parameters = mlp.architecture, mlp.parts
        self.held: list[dict[str, Tensor]] = [each._parameters for each in mlp.lists]  # type: ignore[misc]
        self.addresses = [parameter.data_ptr() for parameter in self.parameters]
        self.count, self.layers, self.normalised = mlp.count, len(a.hidden) + 1, len(mlp.gains)
        self.inputs = mlp.weights[0].shape[1 if mlp.linear else -2]
        self.outputs = mlp.weights[-1].shape[0 if mlp.linear else -1]
        activations = [ACTIVATIONS[a.activation]] * len(a.hidden)
        if a.layer_norm == "first":
            activations[:1] = [ACTIVATIONS["tanh"]] * len(activations[:1])
        leak = 0.01 if a.activation == "leaky_relu" else 0.0
        self.widths = torch.tensor([self.inputs, *a.hidden], dtype=torch.int32)
        self.activations = torch.tensor(activations, dtype=torch.int32)
        self.pointers = library.integers(self.addresses)
        weight, bias, gain, offset = self.places(self.pointers)
        self.precision = mlp.precision
        number = get_args(Precision).index(self.precision)
        self.networks = library.Networks(
            self.count, self.layers, self.outputs, 1, number, self.normalised, leak,
            self.widths.data_ptr(), self.activations.data_ptr(), weight, bias, gain, offset,
        )  # fmt: skip
        self.own = (ctypes.addressof(self.networks), int(mlp.linear))
        self.sizes: dict[int, library.LearningSizes] = {}
        self.spare: list[Tensor] = []  # memory that `backward` no longer needs
        self.idle: dict[Any, list[Any]] = {}  # prepared lessons that are not in use

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """A copy of the MLP has its own weights, so it starts without this."""
        return type(None), ()

    def fits(self, mlp: MLP) -> bool:
        """Whether the MLP's parameters are at the same addresses."""
        at = [parameter.data_ptr() for held in self.held for parameter in held.values()]
        return self.addresses == at and self.precision == mlp.precision

    def takes(self, x: Tensor) -> bool:
        """Whether x has a valid shape and at least one row. Torch handles, or refuses, all other inputs."""
        *members, rows, inputs = x.shape if x.ndim > 1 else (0, 0)
        return inputs == self.inputs and rows > 0 and members in ([], [1], [self.count])

    def places(self, pointers: ctypes.Array[Any]) -> list[int]:
        """The addresses at which the pointers of weights, biases, gains and offsets begin."""
        counts = (0, self.layers, self.layers, self.normalised)
        return [ctypes.addressof(pointers) + 8 * sum(counts[: i + 1]) for i in range(4)]

    def lesson(self, x: Tensor, count: int) -> tuple[library.Learning, library.LearningSizes]:
        """The structures for a call with the first `count` networks. x: contiguous."""
        rows, threads = x.shape[-2], torch.get_num_threads()
        stride = x.stride(0) if x.ndim == 3 and len(x) > 1 else 0
        lesson = library.Learning(*self.own, count, rows, stride, x.data_ptr())
        lesson.threads = threads
        sizes = self.sizes.get(rows)
        if sizes is None:
            sizes = self.sizes[rows] = library.LearningSizes()
            library.call("elites_learning_sizes", lesson, sizes)
        return lesson, sizes

    def forward(self, x: Tensor, count: int, flat: bool, keep: bool) -> tuple[Tensor, Tensor | None]:
        """The outputs, and the data for `backward` if `keep`."""
        lesson, sizes = self.lesson(x, count)
        found = torch.empty((count, lesson.rows) if flat else (count, lesson.rows, self.outputs))
        kept = self.room(count * lesson.rows * sizes.kept) if keep else None
        scratch = library.scratch(sizes)
        lesson.outputs, lesson.scratch = found.data_ptr(), scratch.data_ptr()
        lesson.kept = None if kept is None else kept.data_ptr()
        library.call("elites_learn_forward", lesson)
        return found, kept

    def rows(self, x: Tensor) -> Tensor:
        """(R, in) -> (R, out) of the first network, without data for `backward`. x: contiguous."""
        lesson, sizes = self.lesson(x, 1)
        found = torch.empty(lesson.rows, self.outputs)
        lesson.outputs, lesson.scratch = found.data_ptr(), library.scratch(sizes).data_ptr()
        library.call("elites_learn_forward", lesson)
        return found

    def room(self, floats: int) -> Tensor:
        """Memory that may still be in the cache, or new memory."""
        return self.spare.pop() if self.spare and len(self.spare[-1]) == floats else torch.empty(floats)

    def backward(self, x: Tensor, kept: Tensor, gradient: Tensor, back: Tensor | None, to: Rates | None) -> None:
        """Writes the gradients of the inputs (count, R, in) to `back` and of the parameters to `to`, unless None."""
        gradient = gradient.contiguous()
        lesson, sizes = self.lesson(x, len(gradient))
        scratch = library.scratch(sizes)
        lesson.outputs_grad, lesson.kept, lesson.scratch = gradient.data_ptr(), kept.data_ptr(), scratch.data_ptr()
        if back is not None:
            lesson.inputs_grad = back.data_ptr()
        if to is not None:
            if len(gradient) < self.count:
                to.flat.zero_()
            to.point(lesson)
        library.call("elites_learn_backward", lesson)
        self.spare = [kept]

    def learns(self) -> bool:
        """Whether all its parameters need a gradient."""
        return all(parameter.requires_grad for parameter in self.parameters)

    @cached_property
    def rates(self) -> Rates:
        """The gradients of the parameters, in memory that descents reuse."""
        return Rates(self)


class Rates:
    """Gradients of all parameters of networks."""

    def __init__(self, networks: CompiledMLP) -> None:
        sizes = [parameter.numel() for parameter in networks.parameters]
        self.flat = torch.empty(sum(sizes))
        parts = zip(torch.split(self.flat, sizes), networks.parameters, strict=True)
        self.each = [part.view(parameter.shape) for part, parameter in parts]
        self.pointers = library.addresses(self.each)
        self.places = networks.places(self.pointers)

    def point(self, lesson: library.Learning) -> None:
        """Makes a lesson write its gradients here."""
        for name, place in zip(RATES, self.places, strict=True):
            setattr(lesson, name, place)


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, mlp: MLP, networks: CompiledMLP, count: int, flat: bool, x: Tensor, *parameters: Tensor
    ) -> Tensor:
        rows = x.contiguous()
        found, kept = networks.forward(rows, count, flat, keep=True)
        ctx.mlp, ctx.networks, ctx.rows, ctx.kept = mlp, networks, rows, kept
        ctx.save_for_backward(x, *parameters)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, *parameters = ctx.saved_tensors  # torch raises if they have changed since
        kept, ctx.kept = ctx.kept, None  # the backward pass overwrites it
        if torch.is_grad_enabled() or kept is None:  # for a gradient of this gradient, or a second backward pass
            gradient = gradient if gradient.ndim == 3 else gradient.unsqueeze(-1)
            return None, None, None, None, *in_torch(ctx.mlp, x, parameters, gradient)
        networks, descent = ctx.networks, _descent.get()
        back = torch.empty(*gradient.shape[:2], networks.inputs) if ctx.needs_input_grad[4] else None
        given: list[Tensor] | list[None] = [None] * len(parameters)
        if descent is not None:
            descent.take(networks, lambda to: networks.backward(ctx.rows, kept, gradient, back, to))
        else:
            to = Rates(networks) if any(ctx.needs_input_grad[5:]) else None
            networks.backward(ctx.rows, kept, gradient, back, to)
            given = to.each if to else given
        if back is not None and back.shape != x.shape:
            back = back.sum(0).view(x.shape)
        return None, None, None, None, back, *given


def in_torch(mlp: MLP, x: Tensor, parameters: Sequence[Tensor], gradient: Tensor) -> Iterator[Tensor | None]:
    """The gradients of x and the parameters, in operations that autograd can differentiate again."""
    wanted, again = [each for each in (x, *parameters) if each.requires_grad], torch.is_grad_enabled()
    with torch.enable_grad():
        found = network(x.expand(len(gradient), *x.shape[-2:]), mlp.layers(slice(len(gradient))))
        rates = iter(torch.autograd.grad(found, wanted, gradient, create_graph=again, allow_unused=True))
    return (next(rates) if each.requires_grad else None for each in (x, *parameters))


# --- descents --------------------------------------------------------------------------------------------------------


class Descent:
    """The parameters that need gradients, and the networks that have written theirs."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.addresses = [parameter.data_ptr() for parameter in parameters]
        self.met: list[CompiledMLP] = []

    def take(self, networks: CompiledMLP, backward: Callable[[Rates | None], None]) -> None:
        """Runs a backward pass. If these networks have written gradients already, adds to them."""
        if networks.addresses[0] not in self.addresses:
            backward(None)
        elif networks in self.met:
            backward(more := Rates(networks))
            networks.rates.flat += more.flat
        else:
            self.met.append(networks)
            backward(networks.rates)

    def found(self) -> dict[int, Tensor]:
        """{address of a parameter: its gradient}."""
        return {at: rate for one in self.met for at, rate in zip(one.addresses, one.rates.each, strict=True)}


_descent: ContextVar[Descent | None] = ContextVar("descent", default=None)


@contextmanager
def without_descent() -> Iterator[None]:
    """Inside this context, backward passes return their gradients and do not write into a descent."""
    token = _descent.set(None)
    try:
        yield
    finally:
        _descent.reset(token)


def gradients_of(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """As torch.autograd.grad. Gradients of compiled networks reuse the memory of the last call."""
    if (known := getattr(loss, "known", None)) is not None and (mine := known.gradients(parameters)) is not None:
        return list(mine)
    token = _descent.set(descent := Descent(parameters))
    try:
        others = torch.autograd.grad(loss, parameters, allow_unused=True)
    finally:
        _descent.reset(token)
    found = descent.found()
    taken = [found.get(at) for at in descent.addresses]
    return [a if b is None else b if a is None else a + b for a, b in zip(taken, others, strict=True)]
