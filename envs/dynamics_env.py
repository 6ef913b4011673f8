"""Environments with known dynamics: a step is one row of the task's functions."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from elites.envs.task import Task

Array = NDArray[np.float64]
Point = tuple[float, float]


class DynamicsEnv(gymnasium.Env[Any, Any]):
    """Steps through `task.dynamics` in float64. A subclass gives the first state and draws the picture."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012  # in Gymnasium's form
    task: ClassVar[Task]
    size: ClassVar[tuple[int, int]]  # of the picture, in pixels
    view: ClassVar[tuple[float, float]]  # half the width of the picture, and the height of its middle, in world units

    def __init__(self, observations: Box, actions: Box, render_mode: str | None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode: expected rgb_array or None, got {render_mode!r}")
        self.observation_space, self.action_space, self.render_mode = observations, actions, render_mode
        self.state: Array | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.begin(self.np_random)
        return self.state.copy(), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        if self.state is None:
            raise gymnasium.error.ResetNeeded("step: expected a call of reset first")
        limits = self.action_space
        assert isinstance(limits, Box)
        force = np.clip(np.asarray(action, np.float64), limits.low, limits.high)
        state, force_row = torch.from_numpy(self.state)[None], torch.from_numpy(force)[None]
        assert self.task.dynamics is not None
        following = self.task.dynamics(state, force_row)
        transition: tuple[Tensor, Tensor, Tensor] = (state, force_row, following)
        terminated = self.task.terminated is not None and bool(self.task.terminated(*transition))
        self.state = following[0].numpy()
        return self.state.copy(), self.task.reward(*transition).item(), terminated, False, {}

    @abstractmethod
    def begin(self, rng: np.random.Generator) -> Array:
        """The state of a new episode."""

    @abstractmethod
    def draw(self, picture: Picture, state: Array) -> None: ...

    def render(self) -> NDArray[np.uint8]:
        if self.state is None:
            raise gymnasium.error.ResetNeeded("render: expected a call of reset first")
        picture = Picture(self.size, *self.view)
        self.draw(picture, self.state)
        return np.asarray(picture.image)


class Picture:
    """A white page in world units. It is drawn at twice its size, so lines are smooth."""

    def __init__(self, size: tuple[int, int], half_width: float, middle: float) -> None:
        self.size, self.scale, self.middle = size, size[0] / half_width, middle
        self.page = Image.new("RGB", (2 * size[0], 2 * size[1]), "white")
        self.pen = ImageDraw.Draw(self.page)

    @property
    def image(self) -> Image.Image:
        return self.page.resize(self.size, Image.Resampling.LANCZOS)

    def at(self, x: float, y: float) -> Point:
        return self.size[0] + self.scale * x, self.size[1] - self.scale * (y - self.middle)

    def line(self, start: Point, end: Point, colour: str, width: float) -> None:
        self.pen.line([self.at(*start), self.at(*end)], fill=colour, width=round(self.scale * width))

    def disc(self, centre: Point, radius: float, colour: str) -> None:
        x, y = self.at(*centre)
        r = self.scale * radius
        self.pen.ellipse([x - r, y - r, x + r, y + r], fill=colour)

    def block(self, centre: Point, width: float, height: float, colour: str) -> None:
        x, y = centre
        (left, top), (right, bottom) = self.at(x - width / 2, y + height / 2), self.at(x + width / 2, y - height / 2)
        self.pen.rectangle([left, top, right, bottom], fill=colour)
