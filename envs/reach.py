"""The arm of CEM-AH (paper 001, sec. 5.1; the kinematics are those of its code): its tip reaches for a point."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from elites.envs.dynamics_env import Picture
from elites.envs.rows import Array, ManyRows, OneRow, World

BASE, TARGET, LINKS, FIRST = (500.0, 500.0), (369.0, 430.0), (200.0, 140.0), 0.1  # pixels, pixels, lengths, radians


class Arm(World):
    """States are the angles (R, 2) of both joints, in radians. All places are whole pixels."""

    start = np.array([FIRST, FIRST])

    def __init__(self) -> None:
        self.observation_space = Box(-np.inf, np.inf, (8,), np.float32)
        self.action_space: Any = Box(-1.0, 1.0, (2,), np.float32)

    def step(self, state: Array, action: Array) -> tuple[Array, Array, Array]:
        """Each joint turns by at most one degree. The reward is 100 / (1 + the tip's distance in pixels)."""
        following = state + np.deg2rad(np.clip(action.astype(np.float64), -1, 1))
        distance = np.linalg.norm(self.places(following)[1] - TARGET, axis=-1)
        return following, 100 / (distance + 1), np.zeros(len(state), dtype=bool)

    def observe(self, state: Array) -> Array:
        """Base, elbow, tip and target, in units of 1000 pixels."""
        elbow, tip = self.places(state)
        fixed = (np.broadcast_to(point, elbow.shape) for point in (BASE, TARGET))
        base, target = fixed
        return (np.concatenate([base, elbow, tip, target], 1) / 1000).astype(np.float32)

    def places(self, state: Array) -> tuple[Array, Array]:
        """The elbow and the tip (R, 2), in pixels. Angles count from the vertical, the second from the first link."""
        angles = np.cumsum(state, -1)
        ways = [
            length * np.stack([-np.sin(angle), np.cos(angle)], -1)
            for length, angle in zip(LINKS, angles.T, strict=True)
        ]
        return self._pixel(ways[0]), self._pixel(ways[0] + ways[1])

    def _pixel(self, place: Array) -> Array:
        return np.trunc(np.array(BASE) + place * (1, -1))

    def draw(self, state: Array) -> NDArray[np.uint8]:
        picture = Picture((400, 400), 360.0, 0.0)

        def there(point: Array) -> tuple[float, float]:
            return float(point[0] - BASE[0]), float(BASE[1] - point[1])

        elbow, tip = (there(place[0]) for place in self.places(state[None]))
        picture.disc(there(np.array(TARGET)), 12, "#16a34a")
        picture.line((0, 0), elbow, "#374151", 14)
        picture.line(elbow, tip, "#6b7280", 10)
        for point, size in (((0.0, 0.0), 14), (elbow, 10), (tip, 7)):
            picture.disc(point, size, "#c2410c")
        return np.asarray(picture.image)


class Reach(OneRow):
    """Standing still earns 35.6 in 100 steps; the best is 73.0."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(Arm(), render_mode)


class Reaches(ManyRows):
    """N arms at once, for `gymnasium.make_vec`."""

    def __init__(self, num_envs: int = 1, **settings: Any) -> None:
        super().__init__(Arm(), num_envs, **settings)
