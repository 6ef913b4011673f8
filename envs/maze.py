"""The maze of CEM-AH (paper 001, sec. 5.1): MiniGrid's SimpleCrossing S9N3 with one layout, fully observed."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from elites.envs.rows import Array, ManyRows, OneRow, World

LAYOUT = """
#########
#S......#
##.######
#.......#
#######.#
#.......#
######.##
#......G#
#########
"""
AHEAD = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])  # (x, y) of the headings right, down, left and up
WALL, EMPTY, GOAL, AGENT = (2, 5, 0), (1, 0, 0), (8, 1, 0), (10, 0)  # MiniGrid's object, colour, state
LEFT, RIGHT = 0, 1  # action 2 goes forward
STEP, REACHED = -0.1, 1000.0
CELL = 40  # pixels


class Grid(World):
    """States are numbers: cell · 4 + heading. A step is a row of a table; the observation of a state is another."""

    def __init__(self, layout: str = LAYOUT) -> None:
        cells = np.array([list(line) for line in layout.split()])
        if cells.ndim != 2 or any((cells == sign).sum() != 1 for sign in "SG"):
            raise ValueError("Maze.layout: expected lines of equal length with one S and one G")
        self.cells, (self.height, self.width) = cells, cells.shape
        (y,), (x,) = np.nonzero(cells == "S")
        self.start = np.array((y * self.width + x) * 4)  # heading right
        self.next, self.goal = self._table()
        self.seen = self._observations()
        self.observation_space = Box(-np.inf, np.inf, self.seen.shape[1:], np.float32)
        self.action_space: Any = Discrete(3)

    def step(self, state: Array, action: Array) -> tuple[Array, Array, Array]:
        following = self.next[state, action]
        there = self.goal[following]
        return following, STEP + REACHED * there, there

    def observe(self, state: Array) -> Array:
        return np.take(self.seen, state, 0)

    def _table(self) -> tuple[Array, Array]:
        """The next state of every state and action, and which states are at the goal. A wall stops a step."""
        place, heading = np.divmod(np.arange(4 * self.cells.size), 4)
        y, x = np.divmod(place, self.width)
        ahead_x, ahead_y = x + AHEAD[heading, 0], y + AHEAD[heading, 1]
        inside = (ahead_x >= 0) & (ahead_x < self.width) & (ahead_y >= 0) & (ahead_y < self.height)
        free = inside & (self.cells[ahead_y % self.height, ahead_x % self.width] != "#")
        forward = np.where(free, ahead_y * self.width + ahead_x, place)
        turned = [place * 4 + (heading + turn) % 4 for turn in (-1, 1)]
        return np.stack([*turned, forward * 4 + heading], 1), self.cells[y, x] == "G"

    def _observations(self) -> Array:
        """MiniGrid's encoding (x, y, 3) of every state, with its entries standardised (paper 001's code)."""
        codes = {"#": WALL, "G": GOAL}
        picture = np.array([[codes.get(cell, EMPTY) for cell in column] for column in self.cells.T], dtype=np.float64)
        seen = np.repeat(picture[None], 4 * self.cells.size, 0)
        place, heading = np.divmod(np.arange(len(seen)), 4)
        y, x = np.divmod(place, self.width)
        seen[np.arange(len(seen)), x, y] = np.column_stack([*np.broadcast_arrays(*AGENT, heading)])
        flat = seen.reshape(len(seen), -1)
        standard: Array = (flat - flat.mean(1, keepdims=True)) / flat.std(1, ddof=1, keepdims=True)
        return standard.astype(np.float32)

    def draw(self, state: Array) -> NDArray[np.uint8]:
        page = Image.new("RGB", (CELL * self.width, CELL * self.height), "white")
        pen, colours = ImageDraw.Draw(page), {"#": "#6b7280", "G": "#16a34a"}
        for (y, x), cell in np.ndenumerate(self.cells):
            corner = (CELL * x, CELL * y, CELL * (x + 1) - 1, CELL * (y + 1) - 1)
            pen.rectangle(corner, fill=colours.get(cell, "white"), outline="#e5e7eb")
        place, heading = divmod(int(state), 4)
        middle, ahead = np.array(divmod(place, self.width)[::-1]) + 0.5, AHEAD[heading]
        aside = ahead[::-1] * (1, -1)
        corners = [middle + 0.35 * ahead, middle - 0.3 * ahead + 0.25 * aside, middle - 0.3 * ahead - 0.25 * aside]
        pen.polygon([tuple(CELL * corner) for corner in corners], fill="#c2410c")
        return np.asarray(page)


class Maze(OneRow):
    """Turn left, turn right or go forward. A step costs 0.1, the goal gives 1000 and ends the episode."""

    def __init__(self, layout: str = LAYOUT, render_mode: str | None = None) -> None:
        super().__init__(Grid(layout), render_mode)


class Mazes(ManyRows):
    """N mazes at once, for `gymnasium.make_vec`."""

    def __init__(self, num_envs: int = 1, layout: str = LAYOUT, **settings: Any) -> None:
        super().__init__(Grid(layout), num_envs, **settings)
