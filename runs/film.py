"""The best planned episode, gone through once more before a camera."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from elites.runs.progress import Best

MOST_FRAMES = 500  # without a GPU MuJoCo draws some seven a second


def film(best: Best, spec: EnvSpec, path: Path, progress: Callable[[str], None]) -> None:
    """An MP4; whatever the machine's OpenGL or ffmpeg raise, this raises."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame's environments look for a screen even so
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo's as well
    from imageio.v2 import get_writer

    env = gymnasium.make(spec, render_mode="rgb_array")
    try:
        env.reset(seed=best.seed)
        rate = env.metadata.get("render_fps", 30)
        stride = max(1, round(rate / 30), -(-len(best.actions) // MOST_FRAMES))
        beside = path.with_name("part." + path.name)
        writer: Any = get_writer(beside, fps=rate / stride, macro_block_size=2)
        with writer:
            for step, action in enumerate(best.actions):
                env.step(action)
                if step % stride == 0:
                    writer.append_data(env.render())
                    progress(f"filming  step {step}/{len(best.actions)}")
        beside.replace(path)
    finally:
        env.close()
