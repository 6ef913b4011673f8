"""What a person looks at when a run has ended: the returns, the model's predictions, the best episode as a film."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from elites.agents.pets import PETS
from elites.runs.loop import PHASES, Loop

Array = NDArray[Any]
MOST_FRAMES = 500  # of a film: without a GPU MuJoCo draws some seven a second
BLUE, ORANGE, GREY = "#2563eb", "#c2410c", "#9ca3af"


def draw(loop: Loop) -> None:
    """returns.png and best.mp4 in the run's folder, and predictions.png of a PETS; else a line that says why not."""
    folder, say = loop.run.folder, loop.run.say
    try:
        import matplotlib
    except ImportError:
        say('no plots: pip install "elites[runs]" brings what they need')
    else:
        matplotlib.use("Agg")
        returns(loop, folder / "returns.png")
        if isinstance(loop.agent, PETS):
            predictions(loop.agent, loop, folder / "predictions.png")
    if loop.best:
        film(loop, folder / "best.mp4")


def returns(loop: Loop, path: Path) -> None:
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    along = loop.schedule.along
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for phases, colour in zip(PHASES, (GREY, BLUE, ORANGE), strict=True):
        rows = [row for row in loop.rows if row["phase"] in phases]
        if not rows:
            continue
        x, y = [row[along] for row in rows], [row["return"] for row in rows]
        if "worst" in rows[0]:  # a row stands for several episodes
            ends = [row["worst"] for row in rows], [row["best"] for row in rows]
            axes.fill_between(x, *ends, color=colour, alpha=0.15, lw=0)
        few = len(rows) <= 50
        axes.plot(x, y, "o-" if few else "-", color=colour, label=phases[0], lw=1.5 if few else 0.8, ms=4)
    axes.set(xlabel=along.replace("env_", ""), ylabel="return", title=f"{loop.name}, seed {loop.seed}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def predictions(agent: PETS, loop: Loop, path: Path, most: int = 9) -> None:
    """The last learning episode: what came, and what the model foresees from every `horizon` steps on, open loop."""
    from matplotlib import pyplot as plt

    horizon = agent.config.horizon
    lengths = [row["length"] for row in loop.rows if row["phase"] == "learning"]
    if not lengths:
        return
    first = len(agent.replay) - lengths[-1]
    segments: list[tuple[Array, Array, Array]] = []
    for start in range(0, lengths[-1], horizon):
        came, foreseen = agent.predict(first + start, min(horizon, lengths[-1] - start))
        for entry in agent.task.angles if segments else ():
            turns = np.round((segments[-1][1][-1, entry] - came[0, entry]) / (2 * np.pi))
            came[:, entry], foreseen[..., entry] = (x[..., entry] + 2 * np.pi * turns for x in (came, foreseen))
        segments.append((np.arange(start + 1, start + 1 + len(came)), came, foreseen))
    truth = np.concatenate([came for _, came, _ in segments])
    error = np.concatenate([foreseen.mean(0) - came for _, came, foreseen in segments])
    size, spread = truth.shape[1], np.maximum(np.ptp(truth, 0), 1e-6)
    shown = np.sort(np.argsort(-np.nan_to_num(np.abs(error).mean(0) / spread, nan=np.inf))[:most])

    columns = 2 if len(shown) in (2, 4) else min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(4.2 * columns, 2.4 * rows), layout="constrained", squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    for axes, entry in zip(grid.flat, shown, strict=False):
        for number, (steps, came, foreseen) in enumerate(segments):
            low, middle, high = np.percentile(foreseen[:, :, entry], [5, 50, 95], axis=0)
            name = (lambda text: text) if number == 0 else (lambda text: None)  # once in the legend
            axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, lw=0, label=name("90 % of the particles"))
            axes.plot(steps, middle, color=BLUE, lw=1, label=name("their median"))
            axes.plot(steps, came[:, entry], color="black", lw=1.2, label=name("what came"))
        low, high = truth[:, entry].min(), truth[:, entry].max()
        axes.set_ylim(low - 0.5 * spread[entry], high + 0.5 * spread[entry])
        axes.set_title("reward" if entry >= agent.observed else f"observation[{entry}]", fontsize=9)
        axes.grid(alpha=0.3)
    grid.flat[0].legend(fontsize=7)
    some = f", the {len(shown)} of {size} entries foreseen worst" if len(shown) < size else ""
    figure.suptitle(f"{loop.name}: open loop over {horizon} steps of the last learning episode{some}", fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def film(loop: Loop, path: Path) -> None:
    """The best planned episode, gone through once more before a camera."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame's environments look for a screen even so
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo's as well
    try:
        from imageio.v2 import get_writer

        first: Any = loop.envs.envs[0]  # type: ignore[union-attr]
        env = gymnasium.make(first.spec, render_mode="rgb_array")
        env.reset(seed=loop.best["seed"])
        rate = env.metadata.get("render_fps", 30)
        actions = loop.best["actions"].numpy()
        stride = max(1, round(rate / 30), -(-len(actions) // MOST_FRAMES))
        beside = path.with_name("part." + path.name)
        writer: Any = get_writer(beside, fps=rate / stride, macro_block_size=2)
        with writer:
            for step, action in enumerate(actions):
                env.step(action)
                if step % stride == 0:
                    writer.append_data(env.render())
                    loop.screen.status(f"filming  step {step}/{len(actions)}")
        beside.replace(path)
        env.close()
    except Exception as error:  # whatever the machine's OpenGL or ffmpeg comes up with
        reason = str(error).strip().splitlines()
        loop.run.say(f"no video, as nothing can be filmed here: {reason[0] if reason else type(error).__name__}")
