"""The README's film: a few episodes of a run of the swing-up, side by side.

python examples/pets.py --planner cem_gd
python benchmarks/film.py outputs/CartpoleSwingup-v0-cem_gd-0 --episodes 1 6 13 --out docs/pictures/swingup.gif
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

import elites
from elites import cli
from elites.agents import PETS, Episode
from elites.envs import CartpoleSwingup

WIDTH, HEIGHT, CAPTION = 300, 150, 30  # pixels of an episode, and of the text above it
STEP_MS, STILL_MS = 40, 1500  # time of a step, half as fast as the world; time of the last picture


def episodes_of(run: Path, numbers: list[int]) -> list[Episode]:
    agent = elites.load(run)
    if not isinstance(agent, PETS):
        raise ValueError(f"{run}: expected a run of `elites pets`")
    episodes = agent.replay.episodes()
    for number in numbers:
        if not 1 <= number <= len(episodes):
            raise ValueError(f"--episodes {number}: expected a number from 1 to {len(episodes)}")
    return [episodes[number - 1] for number in numbers]


def frame(captions: list[str], states: list[torch.Tensor]) -> Image.Image:
    """One picture for each state (4), in a row."""
    page = Image.new("RGB", (WIDTH * len(states), HEIGHT + CAPTION), "white")
    font, env = ImageFont.load_default(16), CartpoleSwingup("rgb_array")
    for i, (caption, state) in enumerate(zip(captions, states, strict=True)):
        env.state = state.double().numpy()
        picture = Image.fromarray(env.render()).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        page.paste(picture, (i * WIDTH, CAPTION))
        ImageDraw.Draw(page).text(((i + 0.5) * WIDTH, CAPTION / 2), caption, "#1f2937", font, anchor="mm")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--episodes", type=int, nargs="+", default=[1, 6, 13], metavar="N", help="from 1 on")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/swingup.gif"))
    args = parser.parse_args()
    shown = episodes_of(args.run, args.episodes)
    captions = [
        f"episode {number}: return {episode.reward.sum():.0f}"
        for number, episode in zip(args.episodes, shown, strict=True)
    ]
    longest = max(episode.length for episode in shown)
    frames = [
        frame(captions, [episode.next_state[min(step, episode.length - 1)] for episode in shown])
        for step in range(longest)
    ]
    palette = frames[0].quantize(32)
    first, *others = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in frames]
    times = [STEP_MS] * len(others) + [STILL_MS]
    first.save(args.out, save_all=True, append_images=others, duration=times, loop=0, optimize=True)
    print(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.run(main)
