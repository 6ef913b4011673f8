"""Replays the best planned episode and films it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from elites.runs.progress import Best

MOST_FRAMES = 500  # without a GPU, MuJoCo draws about 7 frames a second


def film(best: Best, spec: EnvSpec, path: Path, progress: Callable[[str], None]) -> None:
    """Writes an MP4. Raises the exceptions of OpenGL and ffmpeg."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # else pygame's environments look for a screen
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("MUJOCO_GL", "egl")  # else MuJoCo does too
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ValueError('it needs pip install "elites[runs]"')
    from imageio.v2 import get_writer

    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    if "rgb_array" not in getattr(creator, "metadata", {}).get("render_modes", ["rgb_array"]):
        raise ValueError(f"{spec.id} has no render mode rgb_array")
    env = gymnasium.make(spec, render_mode="rgb_array")
    try:
        env.reset(seed=best.seed)
        rate = env.metadata.get("render_fps", 30)
        stride = max(1, round(rate / 30), -(-len(best.actions) // MOST_FRAMES))
        beside = path.with_name("part." + path.name)
        writer: Any = get_writer(beside, fps=rate / stride, macro_block_size=2, ffmpeg_log_level="error")
        with writer:
            for step, action in enumerate(best.actions):
                env.step(action)
                if step % stride == 0:
                    writer.append_data(env.render())
                    progress(f"filming  step {step}/{len(best.actions)}")
        beside.replace(path)
    finally:
        env.close()
