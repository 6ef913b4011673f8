"""A run's pictures and film: their lines, sizes and frames."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from elites.runs import pictures
from elites.runs.film import film
from elites.runs.progress import Best
from elites.runs.schedule import Episodes, Steps

SLOPE, HORIZON, LENGTH = 1.7, 4, 10  # of the angle, which makes several turns in an episode
PARTICLES = np.linspace(-0.2, 0.2, 41)


class Foresees:
    """A stand-in for PETS: entries (angle, 1, 2, …). The first grows by SLOPE at every step."""

    config = SimpleNamespace(horizon=HORIZON)
    observed = 2

    def __init__(self, size: int, before: int = 5) -> None:
        self.task, self.size, self.replay = SimpleNamespace(angles=(0,)), size, range(before + LENGTH)
        self.before = before

    def predict(self, start: int, steps: int) -> tuple[Any, Any]:
        """Real states are unwrapped within a segment and begin in (-π, π]. The particles are around them."""
        step = np.arange(start - self.before + 1, start - self.before + 1 + steps)
        angle = SLOPE * step
        angle = angle - 2 * np.pi * np.round(angle[0] / (2 * np.pi))
        came = np.stack([angle, *(entry + 0.1 * step for entry in range(1, self.size))], 1)
        errors = 1 + np.arange(self.size)  # later entries are worse
        return came, came + PARTICLES[:, None, None] * errors + 0.01 * errors


def run(rows: list[dict[str, Any]], schedule: Any = None) -> Any:
    return SimpleNamespace(env="Toy-v0", seed=3, rows=rows, schedule=schedule or Episodes())


EPISODES = [{"phase": "random", "episode": 1, "length": 5, "return": 1.0, "env_steps": 5}]
EPISODES += [{"phase": "learning", "episode": 2, "length": LENGTH, "return": 4.0, "env_steps": 15}]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All figures drawn."""
    drawn: list[Any] = []
    real = pictures.new_figure

    def new(width: float, height: float) -> Any:
        drawn.append(real(width, height))
        return drawn[-1]

    monkeypatch.setattr(pictures, "new_figure", new)
    return drawn


def predicted(figures: list[Any], size: int, tmp_path: Path, **options: Any) -> Any:
    agent: Any = Foresees(size)
    pictures.predictions(agent, run(EPISODES), tmp_path / "predictions.png", **options)
    assert (tmp_path / "predictions.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = figures
    figures.clear()
    return figure


def test_an_angle_goes_on_where_the_last_segment_ended(figures: list[Any], tmp_path: Path) -> None:
    """Without a jump by full turns, with the particles."""
    axes = predicted(figures, 2, tmp_path).axes[0]
    came = [line for line in axes.lines if line.get_color() == "black"]
    middle = [line for line in axes.lines if line.get_color() == pictures.BLUE]
    assert [list(line.get_xdata()) for line in came] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    truth = np.concatenate([line.get_ydata() for line in came])
    np.testing.assert_allclose(np.diff(truth), SLOPE)
    assert abs(truth[0]) < np.pi
    assert truth[-1] > 4 * np.pi
    np.testing.assert_allclose(np.concatenate([line.get_ydata() for line in middle]), truth + 0.01)
    first, *_ = axes.collections
    band = first.get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((truth[0] + 0.01 - 0.18, truth[3] + 0.01 + 0.18))  # 5 and 95 %


def test_the_axis_is_of_what_came(figures: list[Any], tmp_path: Path) -> None:
    """With half of its range above and below, for all predictions."""
    axes = predicted(figures, 2, tmp_path).axes[1]
    assert axes.get_ylim() == pytest.approx((1.1 - 0.45, 2.0 + 0.45))


@pytest.mark.parametrize(
    ("size", "columns", "rows"),
    [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 2, 2), (5, 3, 2), (7, 3, 3), (9, 3, 3), (12, 3, 3)],
)
def test_a_picture_is_as_large_as_what_it_shows(
    figures: list[Any], tmp_path: Path, size: int, columns: int, rows: int
) -> None:
    figure = predicted(figures, size, tmp_path)
    assert tuple(figure.get_size_inches()) == pytest.approx((4.2 * columns, 2.4 * rows))
    assert len(figure.axes) == columns * rows
    shown = [axes.get_title() for axes in figure.axes if axes.axison]
    names = ["observation[0]", "observation[1]", *["reward"] * size][:size]
    assert shown == (names if size <= 9 else names[-9:])  # the worst predicted ones, in their order
    assert ("foreseen worst" in figure.get_suptitle()) == (size > 9)


def test_the_entries_foreseen_worst(figures: list[Any], tmp_path: Path) -> None:
    """Errors are in units of each entry's own range: 15.3 for the angle, 0.9 for the others."""
    figure = predicted(figures, 4, tmp_path, most=2)
    assert [axes.get_title() for axes in figure.axes] == ["reward", "reward"]
    assert "the 2 of 4 entries foreseen worst" in figure.get_suptitle()


class ForeseesLong(Foresees):
    """26 steps are six segments and a half. The segments' errors differ; the half one's is the smallest."""

    ERRORS: ClassVar = [0.5, 0.1, 0.4, 0.9, 0.2, 0.3, 0.0]

    def __init__(self, size: int, length: int = 26) -> None:
        super().__init__(size)
        self.replay = range(self.before + length)

    def predict(self, start: int, steps: int) -> tuple[Any, Any]:
        came, _ = super().predict(start, steps)
        error = self.ERRORS[(start - self.before) // HORIZON] * (1 + np.arange(self.size))
        return came, came + PARTICLES[:, None, None] + error


def long_picture(figures: list[Any], size: int, length: int, path: Path) -> Any:
    rows: list[Any] = [{"phase": "learning", "length": length}]
    agent: Any = ForeseesLong(size, length)
    pictures.predictions(agent, run(rows), path)
    return figures.pop()


def test_a_long_episode_is_shown_where_it_was_foreseen_best_worst_and_in_between(
    figures: list[Any], tmp_path: Path
) -> None:
    figure = long_picture(figures, 3, 26, tmp_path / "predictions.png")
    assert tuple(figure.get_size_inches()) == pytest.approx((12.6, 6.8))
    grid = np.reshape(figure.axes, (3, 3))
    assert [axes.get_title() for axes in grid[0]] == [
        "steps 5 to 8, foreseen best",
        "steps 21 to 24, the median",
        "steps 13 to 16, foreseen worst",
    ]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["observation[0]", "observation[1]", "reward"]
    assert "over 4 steps, three of 6 times in the last learning episode" in figure.get_suptitle()
    assert "foreseen worst" not in figure.get_suptitle()
    for axes, steps in zip(grid[1], ([5, 6, 7, 8], [21, 22, 23, 24], [13, 14, 15, 16]), strict=True):
        middle, came = axes.lines
        assert list(came.get_xdata()) == list(middle.get_xdata()) == steps
        np.testing.assert_allclose(came.get_ydata(), 1 + 0.1 * np.array(steps))
        np.testing.assert_allclose(middle.get_ydata() - came.get_ydata(), 2 * ForeseesLong.ERRORS[steps[0] // 4])
        centre = 1 + 0.1 * np.mean(steps)  # the real states span 0.3, with as much above and below
        assert axes.get_ylim() == pytest.approx((centre - 0.3, centre + 0.3))


def test_a_row_has_one_scale(figures: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scale of the segment with the largest range, so a segment with a small range looks small."""
    real = ForeseesLong.predict

    def predict(self: Any, start: int, steps: int) -> tuple[Any, Any]:
        came, particles = real(self, start, steps)
        return came * [1, start == 5 + 12], particles

    monkeypatch.setattr(ForeseesLong, "predict", predict)
    limits = [axes.get_ylim() for axes in long_picture(figures, 2, 26, tmp_path / "a.png").axes[3:]]
    assert [high - low for low, high in limits] == pytest.approx([0.6] * 3)


@pytest.mark.parametrize(("length", "panels"), [(16, 7), (17, 18)])
def test_four_segments_are_drawn_whole_and_five_are_not(
    figures: list[Any], tmp_path: Path, length: int, panels: int
) -> None:
    """Seven entries: a panel for each, or three panels for each of the six worst predicted ones."""
    figure = long_picture(figures, 7, length, tmp_path / "a.png")
    assert sum(axes.axison for axes in figure.axes) == panels
    assert ("the 6 of 7 entries foreseen worst" in figure.get_suptitle()) == (panels == 18)


@pytest.mark.parametrize("schedule", [Episodes(), Steps()])
def test_returns(figures: list[Any], tmp_path: Path, schedule: Any) -> None:
    rows = [*EPISODES, {"phase": "evaluation", "episode": 3, "env_steps": 20, "return": 6.0, "worst": 5.0, "best": 8.0}]
    pictures.returns(run(rows, schedule), tmp_path / "returns.png")
    (figure,) = figures
    (axes,) = figure.axes
    along = "episode" if isinstance(schedule, Episodes) else "env_steps"
    drawn = [(line.get_label(), list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert drawn == [(row["phase"], [row[along]], [row["return"]]) for row in rows]
    assert tuple(figure.get_size_inches()) == (7, 3.6)
    assert axes.get_xlabel() == along.replace("env_", "")
    (band,) = axes.collections
    assert (band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()) == (5, 8)


@pytest.mark.parametrize(("count", "marker"), [(50, "o"), (51, "None")])
def test_few_points_are_marked(figures: list[Any], tmp_path: Path, count: int, marker: str) -> None:
    rows = [{"phase": "learning", "episode": n, "return": float(n)} for n in range(count)]
    pictures.returns(run(rows), tmp_path / "returns.png")
    (line,) = figures[0].axes[0].lines
    assert line.get_marker() == marker


def test_a_run_without_an_episode_has_a_picture_without_a_line(figures: list[Any], tmp_path: Path) -> None:
    """Without a warning."""
    pictures.returns(run([]), tmp_path / "returns.png")
    assert not figures[0].axes[0].lines
    assert figures[0].axes[0].get_legend() is None


class Filmed(gymnasium.Env[Any, Any]):
    """An environment whose picture shows its step and its seed."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}
    closed: ClassVar[bool] = False
    observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, render_mode: str | None = None, fps: int = 30) -> None:
        self.render_mode, self.metadata = render_mode, Filmed.metadata | {"render_fps": fps}  # type: ignore[misc]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.count, self.seed = 0, seed
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        return np.zeros(1, np.float32), 0.0, False, False, {}

    def render(self) -> Any:
        return self.count, self.seed

    def close(self) -> None:
        Filmed.closed = True


@pytest.mark.parametrize(
    ("fps", "steps", "stride"),
    [(30, 100, 1), (10, 100, 1), (44, 7, 1), (46, 7, 2), (100, 60, 3), (30, 500, 1), (30, 501, 2), (60, 1500, 3)],
)
def test_frames_of_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fps: int, steps: int, stride: int) -> None:
    """Thirty a second, or 500 in all for a long episode; the film runs in real time."""
    import imageio.v2

    frames: list[Any] = []

    class Writer:
        def __init__(self, path: Path, **options: Any) -> None:
            self.path, frames[:] = path, [options]

        def append_data(self, frame: Any) -> None:
            frames.append(frame)

        def __enter__(self) -> Writer:
            return self

        def __exit__(self, *_: object) -> None:
            self.path.write_bytes(b"film")

    monkeypatch.setattr(imageio.v2, "get_writer", Writer)
    gymnasium.register("Filmed-v0", Filmed, disable_env_checker=True, order_enforce=False)
    try:
        spec = gymnasium.spec("Filmed-v0")
        spec.kwargs["fps"] = fps
        said: list[str] = []
        film(Best(0.0, 11, np.zeros((steps, 1), np.float32)), spec, tmp_path / "film.mp4", said.append)
    finally:
        del gymnasium.registry["Filmed-v0"]
    options, *shown = frames
    assert shown == [(step, 11) for step in range(1, steps + 1, stride)]
    assert options["fps"] == pytest.approx(fps / stride)
    assert said[-1] == f"filming  step {shown[-1][0] - 1}/{steps}"
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
    assert Filmed.closed


def test_an_environment_without_pictures_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filmed, "metadata", {"render_modes": []})
    for entry_point in (Filmed, f"{Filmed.__module__}:Filmed"):
        spec = EnvSpec("Filmed-v0", entry_point)
        with pytest.raises(ValueError, match="Filmed-v0 has no render mode rgb_array"):
            film(Best(0.0, 11, np.zeros((3, 1), np.float32)), spec, tmp_path / "film.mp4", lambda text: None)


def test_a_film_needs_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'it needs pip install "elites\[runs\]"'):
        film(Best(0.0, 11, np.zeros((3, 1), np.float32)), EnvSpec("Filmed-v0", Filmed), tmp_path / "x.mp4", str)
