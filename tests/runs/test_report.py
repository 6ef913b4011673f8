"""`elites report`: its page for a few small runs, and its errors."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from elites import cli
from elites.runs.commands.report import main
from elites.runs.report.charts import ticks

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HEADER = "episode,phase,env_steps,return,length,terminated,model_rmse,model_coverage_90"
VOID = {"meta", "img", "br"}


def make(folder: Path, returns: list[float], ended: bool = True, **settings: Any) -> Path:
    """Makes a run's folder: one random episode with return -5, then episodes with these returns."""
    planner = {"name": "cem", "cold": {"samples": 100}, "proposal": {"name": "normal"}}
    settings = {"env": "elites/Toy-v0", "planner": planner, "seed": 0, "horizon": 7} | settings
    lines = [HEADER, "1,random,50,-5.0,50,True,,"]
    for number, value in enumerate(returns, start=2):
        lines.append(f"{number},learning,{50 * number},{value},50,True,{1 / number},0.8")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    if ended:
        summary = {"env": settings["env"], "best_return": max(returns), "last_three_mean": sum(returns[-3:]) / 3}
        summary |= {"plan_ms_median": 12.5, "plan_ms_p95": 31.25, "fallbacks": 3, "peak_memory_mb": 375.1}
        summary |= {"env_steps": 50 * (len(returns) + 1), "wall_s": 3725.2, "episode_returns": returns}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


class Nesting(HTMLParser):
    """Checks that every tag is closed in the right place, and collects the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def rows(page: str) -> dict[str, list[str]]:
    """The text of every table row's cells, by the text of the row's heading."""
    found = {}
    for row in re.findall(r"<tr>(<th scope=\"row\">.*?)</tr>", page):
        heading, *cells = (re.sub("<[^>]*>", "", cell) for cell in re.split("(?=<t[hd])", row) if cell)
        found[heading] = cells
    return found


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the command in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def run(*arguments: str | Path) -> None:
        cli.run(lambda: main([*map(str, arguments)], "elites report"), "elites report")

    return run


@pytest.fixture
def page(report: Callable[..., None], tmp_path: Path) -> Callable[..., str]:
    def run(*folders: Path) -> str:
        report(*folders, "--out", tmp_path / "out.html")
        text = (tmp_path / "out.html").read_text()
        Nesting(text)
        assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)  # nothing from other files
        assert "<script" not in text
        return text

    return run


def test_one_line_with_the_path_of_the_page(
    report: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(make(tmp_path / "run", [1.0]))
    assert capsys.readouterr() == (f"{tmp_path / 'report.html'}\n", "")
    page = tmp_path / "new/folder/page.html"
    report(tmp_path / "run", "--out", page)
    assert capsys.readouterr() == (f"{page}\n", "")
    assert page.read_text() == (tmp_path / "report.html").read_text()


def test_the_page_is_in_the_folder_that_holds_the_runs(
    report: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The working directory stays unchanged."""
    first, second = make(Path("outputs/group/first"), [1.0]), make(Path("outputs/second"), [1.0])
    for runs, expected in (
        ([], "outputs/report.html"),
        ([second], "outputs/report.html"),
        ([first, second], "outputs/report.html"),
        ([first], "outputs/group/report.html"),
        ([second, Path("outputs/report.html")], "outputs/report.html"),  # as in `outputs/*`
        ([make(tmp_path / "elsewhere/run", [1.0])], f"{tmp_path}/elsewhere/report.html"),
        ([tmp_path / "elsewhere/run", second], f"{tmp_path}/report.html"),
    ):
        report(*runs)
        assert capsys.readouterr().out == f"{expected}\n"
        assert Path(expected).exists()
    assert [path.name for path in Path().iterdir()] == ["outputs"]


def test_without_arguments_all_runs_below_outputs(report: Callable[..., None], tmp_path: Path) -> None:
    make(Path("outputs/group/first"), [1.0])
    make(Path("outputs/second"), [2.0])
    report()
    assert list(rows(Path("outputs/report.html").read_text())) == ["firstcem", "secondcem"]


def test_figures_of_every_run(page: Callable[..., str], tmp_path: Path) -> None:
    text = page(make(tmp_path / "first", [1.0, 2.0, 6.0]), make(tmp_path / "second", [1.0, 9.0, 2.0], horizon=8))
    assert "2 runs in Toy-v0" in text
    found = rows(text)
    plain = ["12.50", "31.25", "375.1", "200", "1:02:05", "3"]
    assert found["firstcem, horizon 7"] == ["0", "6.000", "3.000", *plain]
    assert found["secondcem, horizon 8"] == ["0", "9.000", "4.000", *plain]
    assert re.findall("<b>(.*?)</b>", text) == ["9.000", "4.000"]  # other figures are equal in both runs


def test_the_best_is_that_of_its_environment(page: Callable[..., str], tmp_path: Path) -> None:
    pairs = [("a", "Toy-v0", 3.0), ("b", "Toy-v0", 4.0), ("c", "Other-v0", 50.0), ("d", "Other-v0", 60.0)]
    text = page(*(make(tmp_path / name, [value], env=env, horizon=name) for name, env, value in pairs))
    assert re.findall("<h2>(.*?)</h2>", text) == ["Toy-v0", "Other-v0"]
    assert re.findall("<b>(.*?)</b>", text) == ["4.000", "1.333", "60.00", "20.00"]


def test_only_settings_that_differ_are_told(page: Callable[..., str], tmp_path: Path) -> None:
    other = {"name": "cem_gd", "cold": {"samples": 500}, "ascent": {"steps": 10}, "proposal": {"name": "normal"}}
    text = page(make(tmp_path / "a", [1.0]), make(tmp_path / "b", [1.0], planner=other, seed=1))
    told = {key: cells for key, cells in rows(text).items() if key.startswith(("planner", "horizon", "seed", "env"))}
    assert told == {
        "planner.name": ["cem", "cem_gd"],
        "planner.cold.samples": ["100", "500"],
        "planner.ascent.steps": ["—", "10"],
    }
    assert "Differences in the settings" not in page(tmp_path / "a")


def test_groups_of_one_planner_are_told_apart(page: Callable[..., str], tmp_path: Path) -> None:
    few = [
        make(tmp_path / f"few{n}", [1.0], horizon=n, planner={"name": "my.module:CEM", "samples": n}) for n in (5, 6)
    ]
    text = page(*few, make(tmp_path / "alone", [1.0]))
    assert re.findall("<li>.*?</i>(.*?)</li>", text) == [
        "CEM, horizon 5, samples 5",
        "CEM, horizon 6, samples 6",
        "cem",
    ]
    many = [make(tmp_path / f"many{n}", [1.0], a=n, b=n, c=n, horizon=n) for n in (5, 6)]
    assert re.findall("<li>.*?</i>(.*?)</li>", page(*many)) == ["cem, settings 1", "cem, settings 2"]


def test_seeds_are_one_group_with_a_mean_as_far_as_all_have_come(page: Callable[..., str], tmp_path: Path) -> None:
    runs = [
        make(tmp_path / "zero", [1.0, 2.0], seed=0),
        make(tmp_path / "one", [3.0, 5.0, 7.0], seed=1),
        make(tmp_path / "other", [1.0], horizon=9),
    ]
    text = page(*runs)
    assert text.count("<li>") == 2  # items of the legend
    chart = text[text.index("<svg") : text.index("</svg>")]
    points = re.findall(r"<title>cem, horizon 7, mean of 2 seeds, episode (\d+): (\S+)</title>", chart)
    assert points == [("1", "-5.000"), ("2", "2.000"), ("3", "3.500")]
    assert "<title>one, episode 4: 7.000</title>" in chart
    hues = [re.findall(r"--hue:[\d.]+", heading) for heading in re.findall("<h3.*?</h3>", text)]
    assert hues[0] == hues[1] != hues[2]


def test_the_kind_of_run_sets_nothing_apart(page: Callable[..., str], tmp_path: Path) -> None:
    """Old runs have no kind."""
    text = page(make(tmp_path / "old", [1.0]), make(tmp_path / "new", [1.0], kind="pets", seed=1))
    assert text.count("<li>") == 1
    assert "Differences in the settings" not in text


def test_figures_of_the_model(page: Callable[..., str], tmp_path: Path) -> None:
    text = page(make(tmp_path / "run", [1.0, 2.0]))
    _, rmse, coverage = re.findall("<svg.*?</svg>", text)
    assert re.findall("<title>(.*?)</title>", rmse) == ["run, episode 2: 0.5000", "run, episode 3: 0.3333"]
    assert re.findall("<title>(.*?)</title>", coverage) == ["run, episode 2: 0.8000", "run, episode 3: 0.8000"]


def test_evaluations_are_drawn_by_step(page: Callable[..., str], tmp_path: Path) -> None:
    """Runs without a model have an agent instead of a planner."""
    for name, final in (("td3", 4.0), ("sac", 5.0)):
        folder = make(tmp_path / name, [1.0, 2.0])
        (folder / "config.yaml").write_text(yaml.safe_dump({"env": "Toy-v0", "agent": {"name": name}, "seed": 0}))
        lines = ["episode,phase,env_steps,return,worst", "1,random,50,-5.0,", "2,learning,100,1.0,"]
        lines += [",evaluation,1000,3.0,2.0", f",final,2000,{final},1.0"]
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
        (folder / "summary.json").write_text(json.dumps({"final_evaluation_mean": final, "env_steps": 2000}))
    text = page(tmp_path / "td3", tmp_path / "sac")
    assert rows(text)["td3td3"] == ["0", "4.000", "2,000"]
    assert re.findall("<b>(.*?)</b>", text) == ["5.000"]
    assert "<title>sac, step 2,000: 5.000</title>" in text
    assert "<title>sac, episode 2: 1.000</title>" in text
    assert "Held-out" not in text
    assert "nothing so far" not in text


def test_higher_values_are_drawn_higher(page: Callable[..., str], tmp_path: Path) -> None:
    chart = re.findall("<svg.*?</svg>", page(make(tmp_path / "run", [100.0, -100.0])))[0]
    (x1, y1), (x2, y2), (x3, y3) = re.findall(r'<circle cx="(\S+)" cy="(\S+)"', chart)
    assert float(x1) < float(x2) < float(x3)
    assert float(y2) < float(y1) < float(y3)
    assert float(x1) + float(x3) == pytest.approx(2 * float(x2), abs=0.2)


def test_random_episodes_are_dashed_up_to_the_first_that_is_not(page: Callable[..., str], tmp_path: Path) -> None:
    chart = re.findall("<svg.*?</svg>", page(make(tmp_path / "run", [1.0, 2.0])))[0]
    circles = re.findall(r'<circle cx="(\S+)" cy="(\S+)"', chart)
    points = [",".join(at) for at in circles]
    (dashed,) = re.findall(r'<polyline class="random" points="(.*?)"/>', chart)
    (whole,) = re.findall(r'<polyline class="" points="(.*?)"/>', chart)
    assert (dashed.split(), whole.split()) == (points[:2], points[1:])
    model = re.findall("<svg.*?</svg>", page(tmp_path / "run"))[1]  # which there is of no random episode
    assert 'class="random"' not in model


def test_ticks_are_round_numbers_inside() -> None:
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(-0.5, 10.5, 5) == [0, 5, 10]
    assert ticks(0, 24, 5) == [0, 5, 10, 15, 20]
    assert ticks(0.05, 0.65, 5) == pytest.approx([0.2, 0.4, 0.6])
    assert ticks(0.5, 3.5, 8, least=1) == [1, 2, 3]
    assert ticks(-9, 95, 8) == [0, 20, 40, 60, 80]


def test_a_run_that_goes_on_is_shown_as_far_as_it_got(page: Callable[..., str], tmp_path: Path) -> None:
    going = make(tmp_path / "going", [-9.0, -6.0, -7.0, -8.0], ended=False)
    more = make(tmp_path / "more", [1.0, 2.0, 3.0], planner={"name": "mppi"})  # it had ended and was resumed
    with (more / "metrics.csv").open("a") as file:
        file.write("5,learning,250,8.0,50,True,0.1,0.9\n")
    begun = make(tmp_path / "begun", [1.0], planner={"name": "icem"}, ended=False)
    (begun / "metrics.csv").unlink()
    text = page(going, more, begun)
    found = rows(text)
    assert found["goingcem, unfinished: 5 episodes so far"] == ["0", "-6.000", "-7.000", "250"]
    assert found["moremppi, unfinished: 5 episodes so far"] == ["0", "8.000", "4.333", "250"]
    assert found["begunicem, unfinished: 0 episodes so far"] == [
        "0",
        *"———",
    ]  # no run has ended: what is known then has no column
    assert "<title>going, episode 5: -8.000</title>" in text
    assert "No pictures so far." in text
    assert "nothing so far" in page(begun)


def test_pictures_and_film_are_in_the_page(page: Callable[..., str], tmp_path: Path) -> None:
    run = make(tmp_path / "run", [1.0])
    (run / "predictions.png").write_bytes(PNG)
    (run / "best.mp4").write_bytes(b"a film")
    text = page(run)
    image, film = re.findall("<img.*?>", text), re.findall("<video.*?>", text)
    assert f'src="data:image/png;base64,{base64.b64encode(PNG).decode()}" alt="run: The last learning' in image[0]
    assert f'src="data:video/mp4;base64,{base64.b64encode(b"a film").decode()}"' in film[0]
    assert 'aria-label="run: The best planned episode"' in film[0]
    assert text.count("</figcaption>") == 3 + 2


def test_every_string_is_escaped(page: Callable[..., str], tmp_path: Path) -> None:
    bad = '<script>alert("1")&{0}$title'
    first = make(tmp_path / bad, [1.0], seed=bad, env=bad, horizon=bad, planner={"name": bad, bad: bad})
    second = make(tmp_path / "second", [1.0], env=bad, planner={"name": bad, "x": 1})
    (first / "predictions.png").write_bytes(PNG)
    (first / "best.mp4").write_bytes(b"a film")
    text = page(first, second)  # it looks for <script
    assert bad in Nesting(text).text
    assert "<title>2 runs in &lt;script&gt;alert(&quot;1&quot;)&amp;{0}$title</title>" in text


def without_config(run: Path) -> None:
    (run / "config.yaml").unlink()


def written(name: str, text: str) -> Callable[[Path], None]:
    def harm(run: Path) -> None:
        (run / name).write_text(text)

    return harm


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (without_config, "run: expected the folder of a run, found no config.yaml in it"),
        (written("config.yaml", "a: [1"), "run/config.yaml: not YAML: "),
        (written("metrics.csv", f"{HEADER}\n1,random,50,x,50,True,,\n"), "run/metrics.csv: damaged after 0 rows: "),
        (written("metrics.csv", f"{HEADER}\n1,random,50,1,50,True,,\n2,lear"), "metrics.csv: damaged after 1 rows"),
        (written("metrics.csv", ""), "run/metrics.csv: damaged after 0 rows: expected at least one row"),
        (written("metrics.csv", "episode,return\n1,2\n"), "expected numbers for episode, env_steps, return"),
        (written("metrics.csv", f"{HEADER}\n1,random,50,nan,50,True,,\n"), "expected numbers for episode, env_steps"),
        (written("summary.json", '{"best_return": 1'), "run/summary.json: damaged: Expecting ',' delimiter"),
        (written("summary.json", '{"best_return": "high"}'), "run/summary.json: damaged: could not convert"),
        (written("summary.json", "[]"), "run/summary.json: damaged: "),
    ],
)
def test_damage_is_told_in_one_line(
    report: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], None],
    message: str,
) -> None:
    harm(make(tmp_path / "run", [1.0]))
    assert message in refused(report, capsys, tmp_path / "run")
    assert not list(tmp_path.rglob("*.html"))


def refused(report: Callable[..., None], capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as stopped:
        report(*arguments)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("elites report: ")
    assert err.count("\n") == 1
    return err


def test_what_cannot_be_is_told_in_one_line(
    report: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path / "run", [1.0])
    assert "expected folders of runs, found none below outputs" in refused(report, capsys)
    assert "unknown argument '--uot'; did you mean '--out'?" in refused(report, capsys, run, "--uot=x")
    assert "nowhere: expected the folder of a run" in refused(report, capsys, tmp_path / "nowhere")
    assert "config.yaml: expected the folder of a run" in refused(report, capsys, run / "config.yaml")
    assert f"{tmp_path}: cannot be written: Is a directory" in refused(report, capsys, run, "--out", tmp_path)
    beside = run / "config.yaml" / "page.html"
    assert f"{beside}: cannot be written: " in refused(report, capsys, run, "--out", beside)
