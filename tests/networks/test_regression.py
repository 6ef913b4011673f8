"""The loss of critics and its gradient: by hand, by the kernel and by torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator

from elites.networks import library
from elites.networks.regression import regression


@pytest.mark.parametrize("engine", ["kernel", "torch"])
def test_a_regression(monkeypatch: Any, engine: str) -> None:
    if engine == "torch":
        monkeypatch.setattr(library, "LIBRARY", None)
    rng = Generator().manual_seed(0)
    values, target = torch.randn(3, 40, generator=rng, requires_grad=True), torch.randn(40, generator=rng)
    target.requires_grad_()
    loss, figures = regression(values, target)
    error = (values - target).detach()
    torch.testing.assert_close(loss, error.square().mean(-1).sum())
    torch.testing.assert_close(figures["value"], values.mean())
    back, to_target = torch.autograd.grad(3 * loss, (values, target))
    torch.testing.assert_close(back, 6 * error / 40)
    torch.testing.assert_close(to_target, -6 * error.sum(0) / 40)


@pytest.mark.parametrize("engine", ["kernel", "torch"])
def test_a_gradient_of_its_gradient(monkeypatch: Any, engine: str) -> None:
    if engine == "torch":
        monkeypatch.setattr(library, "LIBRARY", None)
    values = torch.tensor([[1.0, 4.0], [2.0, -1.0]], requires_grad=True)
    (first,) = torch.autograd.grad(regression(values, torch.zeros(2))[0], values, create_graph=True)
    (second,) = torch.autograd.grad((first * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum(), values)
    assert second.tolist() == [[1, 2], [3, 4]]


def test_targets_of_another_shape_are_torchs() -> None:
    values = torch.arange(6.0).view(2, 3)
    assert regression(values, torch.ones(2, 3))[0].item() == pytest.approx((values - 1).square().sum().item() / 2)
