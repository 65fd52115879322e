from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import Result

from optim_core.compare.results import Run, load

Command = Callable[..., Result]
QUICK = ("torch:sgd", "torch:adam", "--lrs", "0.01,0.1", "--seeds", "2")


def statuses(folder: Path) -> dict[str, list[str]]:
    results = load(folder / "out")
    assert results is not None
    found: dict[str, list[str]] = {}
    for run in results.runs.values():
        found.setdefault(run.optimizer, []).append(run.status)
    return found


def test_from_command_to_files(run: Command, folder: Path) -> None:
    result = run(*QUICK)
    assert result.exit_code == 0, result.output
    assert "has the best squared error" in result.output
    assert statuses(folder) == {"torch:sgd": ["ok"] * 4, "torch:adam": ["ok"] * 4}
    assert (folder / "out" / "report.html").exists()
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["report.html", "results.json"]


def test_results_are_valid_json_with_a_schema(run: Command, folder: Path) -> None:
    run(*QUICK, "torch:sgd,momentum=0.99,lr=1e30")
    content = json.loads((folder / "out" / "results.json").read_text(), parse_constant=pytest.fail)
    assert content["schema"] == 1
    assert set(content) == {"schema", "environment", "setup", "task", "runs"}
    assert content["task"]["goal"] == "min"
    assert content["environment"]["threads"] == 1
    assert set(content["runs"][0]) == set(Run.__dataclass_fields__)


def test_results_round_trip(run: Command, folder: Path) -> None:
    run(*QUICK)
    before = (folder / "out" / "results.json").read_text()
    results = load(folder / "out")
    assert results is not None
    results.save()
    assert (folder / "out" / "results.json").read_text() == before


def test_divergence_is_a_row(run: Command, folder: Path) -> None:
    result = run("torch:sgd,lr=(0.1,1e30)", "torch:adam", "--lrs", "0.1", "--seeds", "2")
    assert result.exit_code == 0, result.output
    assert "diverged 2 of 4" in result.output
    assert statuses(folder)["torch:sgd"] == ["ok", "diverged", "ok", "diverged"]


def test_an_optimizer_that_always_fails_is_a_row(run: Command, folder: Path) -> None:
    result = run("torch:muon", "torch:adam", "--lrs", "0.1", "--seeds", "1")
    assert result.exit_code == 1
    assert "failed 1 of 1" in result.output
    assert "Muon only supports 2D" in result.output
    assert statuses(folder) == {"torch:muon": ["failed"], "torch:adam": ["ok"]}


def test_nothing_but_failure(run: Command) -> None:
    result = run("torch:muon", "--seeds", "1")
    assert result.exit_code == 1
    assert "there is no winner" in result.output


def test_ctrl_c_keeps_what_is_done_and_the_next_call_goes_on(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiny_task

    monkeypatch.setattr(tiny_task, "INTERRUPT_AT", 1 + 3 * 12 + 5)  # one call in the rehearsal; a run has 12 steps
    result = run(*QUICK)
    assert result.exit_code == 130
    assert "Interrupted after 3 of 8 runs" in result.output
    assert statuses(folder) == {"torch:sgd": ["ok"] * 2, "torch:adam": ["ok"]}
    assert "Interrupted after 3 of 8 runs" in (folder / "out" / "report.html").read_text()

    done = load(folder / "out")
    result = run(*QUICK)
    assert result.exit_code == 0
    assert "3 of 8 runs were there already" in result.output
    assert "Interrupted" not in (folder / "out" / "report.html").read_text()
    complete = load(folder / "out")
    assert done is not None
    assert complete is not None
    assert len(complete.runs) == 8
    assert all(complete.runs[key] == run for key, run in done.runs.items())


def test_ctrl_c_before_the_first_run(run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiny_task

    monkeypatch.setattr(tiny_task, "INTERRUPT_AT", 2)
    result = run(*QUICK)
    assert result.exit_code == 130
    assert "no winner" in result.output
    assert "Interrupted after 0 of 8 runs" in (folder / "out" / "report.html").read_text()


def test_a_comparison_grows(run: Command, folder: Path) -> None:
    run("torch:sgd", "--lrs", "0.1", "--seeds", "1")
    result = run("torch:adam", "--lrs", "0.1", "--seeds", "1")
    assert statuses(folder) == {"torch:sgd": ["ok"], "torch:adam": ["ok"]}
    assert "torch:sgd" in result.output


def test_failed_runs_are_tried_again_and_edited_methods_too(run: Command, folder: Path) -> None:
    run("torch:muon", "torch:sgd", "--lrs", "0.1", "--seeds", "1")
    result = run("torch:muon", "torch:sgd", "--lrs", "0.1", "--seeds", "1")
    assert "1 of 2 runs were there already" in result.output
    path = folder / "out" / "results.json"
    content = json.loads(path.read_text())
    for entry in content["runs"]:
        entry["revision"] = "older"
    path.write_text(json.dumps(content))
    result = run("torch:muon", "torch:sgd", "--lrs", "0.1", "--seeds", "1")
    assert "were there already" not in result.output


def test_another_setup_does_not_mix(run: Command) -> None:
    run("torch:sgd", "--lrs", "0.1", "--seeds", "1")
    result = run("torch:sgd", "--lrs", "0.1", "--seeds", "1", "--epochs", "1")
    assert result.exit_code == 1
    assert "holds another comparison (epochs 3 there, 1 now)" in result.output
    assert "Choose another --out, or discard it with --fresh" in result.output
    assert run("torch:sgd", "--lrs", "0.1", "--seeds", "1", "--epochs", "1", "--fresh").exit_code == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 1}', '{"schema": 99}'])
def test_a_file_that_is_not_a_results_file(run: Command, folder: Path, content: str) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "results.json").write_text(content)
    result = run("torch:sgd")
    assert result.exit_code == 1
    assert "results.json" in result.output
    assert "--fresh" in result.output
    assert (folder / "out" / "results.json").read_text() == content


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuchoptimizer",), "nosuchoptimizer"),
        (("torch:sgd+nosuchwrapper",), "nosuchwrapper"),
        (("torch:sgd", "--lrs", "a,b"), "'a,b' is not a list of numbers"),
        (("torch:sgd", "--lrs", "-1"), "'-1' is not a list of numbers"),
        (("torch:sgd,x",), "options are key=value"),
        (("torch:sgd", "--device", "gpu"), "no device 'gpu'"),
        (("torch:sgd", "--epochs", "1", "--steps", "1"), "two ways to say the same thing"),
    ],
)
def test_errors_before_the_first_run(run: Command, folder: Path, words: tuple[str, ...], said: str) -> None:
    result = run(*words)
    assert result.exit_code in (1, 2)
    assert said in " ".join(result.output.split())
    assert not (folder / "out").exists()


def test_missing_extra(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jinja2" else find(name))
    result = run("torch:sgd")
    assert result.exit_code == 1
    assert "compare needs jinja2: pip install 'optim-core[compare]'" in result.output


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.refers: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                self.loads.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("aria-labelledby") or name == "aria-describedby":
                self.refers += (value or "").split()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_report_is_self_contained_accessible_and_escaped(run: Command, folder: Path) -> None:
    run(*QUICK, "torch:muon", "torch:sgd,momentum=0.9,lr=(0.1,1e30)")
    html = (folder / "out" / "report.html").read_text()
    page = Page()
    page.feed(html)
    page.close()
    assert all(target.startswith("#") for target in page.loads)
    assert {target[1:] for target in page.loads} <= set(page.ids)
    assert "url(http" not in html
    assert "@import" not in html
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.refers) <= set(page.ids)
    assert html.count('role="img"') == 3
    assert "tiny &lt;line&gt;" in html
    assert "<line>" not in html
    assert "A line &amp; its slope." in html
    assert "prefers-color-scheme: dark" in html
    assert "#010101" not in html  # every stand-in colour has become a variable
    text = " ".join(" ".join(page.text).split())
    for words in ("torch:muon", "failed 4 of 4", "diverged 2 of 4", "Muon only supports 2D", "threads", "python"):
        assert words in text


def test_report_of_a_method_with_dollars_and_tags(run: Command, folder: Path) -> None:
    run(*QUICK)
    path = folder / "out" / "results.json"
    path.write_text(path.read_text().replace('"torch:sgd"', '"<b>$x_1$&"'))
    results = load(folder / "out")
    assert results is not None

    from optim_core.compare.report import render

    html = render(results)
    assert "<b>" not in html
    assert "&lt;b&gt;$x_1$&amp;" in html


def test_report_of_one_learning_rate_and_of_zero(run: Command) -> None:
    assert run("torch:sgd", "--lrs", "0.1", "--seeds", "1").exit_code == 0
    assert run("torch:sgd", "--lrs", "0", "--seeds", "1").exit_code == 0


# two at once ----------------------------------------------------------------------------------------------------
def test_runs_of_another_process_stay(run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another comparison files its runs while this one is under way; neither loses any, nor makes one twice."""
    from optim_core.compare import runner

    run("torch:adam", "--lrs", "0.1", "--seeds", "2")
    theirs = load(folder / "out")
    assert theirs is not None
    first, second = theirs.runs.values()
    content = json.loads((folder / "out" / "results.json").read_text())
    (folder / "out" / "results.json").unlink()
    made = []
    train = runner.train

    def meanwhile(task: object, planned: object, **options: object) -> Run:
        made.append(planned.key)  # type: ignore[attr-defined]
        if len(made) == 1:
            other = load(folder / "out")
            assert other is not None
            other.add(first)
            other.add(second)
        return train(task, planned, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "train", meanwhile)
    result = run("torch:sgd", "torch:adam", "--lrs", "0.1", "--seeds", "2")
    assert result.exit_code == 0, result.output
    assert [key[0] for key in made] == ["torch:sgd", "torch:sgd"]
    mine = load(folder / "out")
    assert mine is not None
    assert len(mine.runs) == 4
    assert mine.runs[first.key] == first
    assert len(content["runs"]) == 2
    assert "torch:adam" in (folder / "out" / "report.html").read_text()


def test_two_processes_lose_nothing(folder: Path) -> None:
    code = "from optim_core.cli import main; main()"
    command = [sys.executable, "-c", code, "compare", "--task", "tiny_task:tiny", "--out", "out", "--lrs", "0.1,0.01"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    started = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, env=environment)
        for name in ("torch:sgd", "torch:adam")
    ]
    outputs = [process.communicate()[0].decode("ascii") for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert all("+-" in output for output in outputs)
    assert statuses(folder) == {"torch:sgd": ["ok"] * 6, "torch:adam": ["ok"] * 6}
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["report.html", "results.json"]
    assert "12 runs" in (folder / "out" / "report.html").read_text()


def test_a_folder_given_to_another_comparison(run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optim_core.compare import runner

    train = runner.train

    def meanwhile(*arguments: object, **options: object) -> Run:
        path = folder / "out" / "results.json"
        path.write_text(path.read_text().replace('"epochs": 3', '"epochs": 4'))
        return train(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "train", meanwhile)
    result = run("torch:sgd", "--lrs", "0.1", "--seeds", "1")
    assert result.exit_code == 1
    assert "holds another comparison (epochs 4 there, 3 now)" in result.output


def test_a_lock_that_was_left(run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optim_core.compare.results.PATIENCE", 0.1)
    (folder / "out").mkdir()
    lock = folder / "out" / "results.json.lock"
    lock.write_text("1\nanother-machine\n")
    result = run("torch:sgd", "--lrs", "0.1", "--seeds", "1")
    assert result.exit_code == 1
    remedy = " ".join(result.output.split()).rpartition(": ")[2]
    assert remedy == f"rm {Path('out') / lock.name}"
    subprocess.run(remedy.split(), check=True)
    assert run("torch:sgd", "--lrs", "0.1", "--seeds", "1").exit_code == 0


# what is said ---------------------------------------------------------------------------------------------------
def test_tracebacks_are_kept(run: Command, folder: Path) -> None:
    run("torch:muon", "torch:adam", "--lrs", "0.1", "--seeds", "2")
    content = json.loads((folder / "out" / "results.json").read_text())
    for entry in content["runs"]:
        if entry["optimizer"] == "torch:muon":
            assert entry["traceback"].startswith("Traceback")
            assert entry["message"] in entry["traceback"]
        else:
            assert entry["traceback"] == ""
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<pre") == 1  # once for both seeds
    assert "torch:muon, lr 0.1, seed 0; torch:muon, lr 0.1, seed 1" in page
    assert "Muon only supports 2D" in page.partition("<pre")[2]


def test_times_say_how_they_were_taken(run: Command, folder: Path) -> None:
    result = run(*QUICK)
    text = " ".join(result.output.split())
    assert "the median of each optimizer's 4 finished runs" in text
    assert "1 thread." in text
    for entry in json.loads((folder / "out" / "results.json").read_text())["runs"]:
        assert entry["machine"].endswith("1 thread")
    path = folder / "out" / "results.json"
    head, _, tail = path.read_text().partition('"machine": "')  # the environment's
    before, _, after = tail.partition('"machine": "')
    path.write_text(f'{head}"machine": "{before}"machine": "another, {after}')
    assert "on different machines, so they do not compare" in " ".join(run(*QUICK).output.split())


def test_only_what_was_asked_decides_the_exit_code(run: Command) -> None:
    assert run("torch:muon", "--lrs", "0.1", "--seeds", "1").exit_code == 1
    assert run("torch:adam", "--lrs", "0.1", "--seeds", "1").exit_code == 0  # though the folder has muon's
    assert run("torch:sgd,lr=1e30", "--seeds", "1").exit_code == 1  # diverged, every run


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits(run: Command, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "torch:sgd,momentum=0.9,nesterov=true+lookahead,k=5"
    result = run(name, "torch:adam", "--lrs", "0.01,0.1", "--seeds", "2")
    table = result.output[result.output.index("optimizer") :].partition("report:")[0]
    assert name in table
    assert all(len(line) <= columns or len(line.split()) <= 3 for line in table.splitlines())
    for word in ("best lr", "state", "squared", "0.1"):
        assert word in " ".join(table.split())
