"""An episode gone through once more before a camera."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

MOST_FRAMES = 500  # of a film: without a GPU MuJoCo draws some seven a second
FRAMES_PER_S = 30  # at most, and of an environment that does not say


class NoFilm(Exception):
    """Nothing can be filmed here; one line says why."""


def film(spec: EnvSpec, seed: int, actions: NDArray[Any], path: Path, status: Callable[[str], None]) -> None:
    """path: an mp4, which is there whole or not at all. actions: (T, *A), of the episode that begins with this seed."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame's environments look for a screen even so
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo's as well
    try:
        _film(spec, seed, actions, path, status)
    except Exception as error:  # whatever the machine's OpenGL or ffmpeg comes up with
        reason = str(error).strip().splitlines()
        raise NoFilm(reason[0] if reason else type(error).__name__) from error


def _film(spec: EnvSpec, seed: int, actions: NDArray[Any], path: Path, status: Callable[[str], None]) -> None:
    from imageio.v2 import get_writer

    env = gymnasium.make(spec, render_mode="rgb_array")
    env.reset(seed=seed)
    rate = env.metadata.get("render_fps", FRAMES_PER_S)
    stride = stride_of(rate, len(actions))
    beside = path.with_name("part." + path.name)
    writer: Any = get_writer(beside, fps=rate / stride, macro_block_size=2)
    with writer:
        for step, action in enumerate(actions):
            env.step(action)
            if step % stride == 0:
                writer.append_data(env.render())
                status(f"filming  step {step}/{len(actions)}")
    beside.replace(path)
    env.close()


def stride_of(rate: float, steps: int) -> int:
    """Every so manieth step has a frame."""
    return max(1, round(rate / FRAMES_PER_S), -(-steps // MOST_FRAMES))
