from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from optim_core.compare.cells import duration
from optim_core.compare.plots import spread_apart
from optim_core.compare.results import Run, TaskFacts
from optim_core.compare.summary import remarks, summarise, verdict
from optim_core.text import byte_size

TASK = TaskFacts(name="t", about="", metric="accuracy", goal="max", percent=True, target=0.9)


def run(optimizer: str, lr: float, seed: int, score: float, **changes: Any) -> Run:
    evaluations = ((0, 0.0, 0.1), (10, 1.0, score / 2), (20, 2.0, score))
    values: dict[str, Any] = {"evaluations": evaluations, "steps": 20, "step_seconds": 0.1, "state_bytes": 8} | changes
    return Run(optimizer=optimizer, lr=lr, seed=seed, **values)


def bad(optimizer: str, lr: float, seed: int, status: str) -> Run:
    return run(optimizer, lr, seed, 0.99, status=status, message=f"{status} indeed")


def test_the_best_learning_rate_and_the_rank() -> None:
    rows = summarise(
        [run("a", lr, seed, score) for lr, score in ((0.1, 0.5), (0.2, 0.9), (0.4, 0.89)) for seed in (0, 1)]
        + [run("b", lr, seed, 0.95) for lr in (0.1, 0.2) for seed in (0, 1)],
        TASK,
    )
    assert [(row.optimizer, row.rank, row.tied) for row in rows] == [("b", 1, False), ("a", 2, False)]
    best = rows[1].best
    assert best is not None
    assert (best.lr, best.mean, best.sd) == (0.2, 0.9, 0.0)
    assert rows[1].good_lrs == (0.2, 0.4)
    assert (rows[1].target_steps, rows[1].target_seconds, rows[1].target_reached) == (20, 2.0, 2)
    assert verdict(rows, TASK) == (
        "b has the best accuracy, 95.0 ± 0.0 % at lr 0.1, ahead of a by more than one standard deviation."
    )


def test_lower_can_be_better() -> None:
    task = TaskFacts(name="t", about="", metric="loss", goal="min", percent=False, target=0.05)
    rows = summarise([run("a", 0.1, 0, 0.04), run("b", 0.1, 0, 0.06)], task)
    assert [row.optimizer for row in rows] == ["a", "b"]
    assert [row.target_reached for row in rows] == [1, 1]  # b was at half its score before
    assert "with one seed there is no telling" in verdict(rows, task)


def test_ties_are_told() -> None:
    rows = summarise(
        [run("a", 0.1, seed, score) for seed, score in enumerate((0.90, 0.94))]
        + [run("b", 0.1, seed, score) for seed, score in enumerate((0.91, 0.92))]
        + [run("c", 0.1, seed, 0.5) for seed in (0, 1)],
        TASK,
    )
    assert [(row.rank, row.tied) for row in rows] == [(1, True), (1, True), (3, False)]
    assert "but b is within one standard deviation: a tie for these seeds" in verdict(rows, TASK)


def test_a_learning_rate_that_diverges_for_a_seed_is_not_the_best() -> None:
    rows = summarise(
        [run("a", 0.1, 0, 0.8), run("a", 0.1, 1, 0.8), run("a", 0.2, 0, 0.9), bad("a", 0.2, 1, "diverged")], TASK
    )
    assert rows[0].best is not None
    assert rows[0].best.lr == 0.1
    assert rows[0].good_lrs == (0.1,)
    assert rows[0].state == "diverged 1 of 4"
    assert remarks(rows) == ["a: diverged 1 of 4; lr 0.2, seed 1: diverged indeed"]


def test_no_good_run_at_all() -> None:
    rows = summarise([bad("a", 0.1, 0, "diverged"), bad("a", 0.1, 1, "failed"), run("b", 0.1, 0, 0.5)], TASK)
    assert [row.optimizer for row in rows] == ["b", "a"]
    assert rows[1].state == "diverged 1 of 2, failed 1 of 2"
    assert verdict(rows, TASK).endswith("no other optimizer finished a run.")
    assert "no winner" in verdict(rows[1:], TASK)
    assert "no winner" in verdict([], TASK)


@pytest.mark.parametrize(("best", "word"), [(0.1, "smallest"), (0.2, ""), (0.4, "largest")])
def test_the_edge_of_what_was_tried(best: float, word: str) -> None:
    rows = summarise([run("a", lr, 0, 0.9 if lr == best else 0.8) for lr in (0.1, 0.2, 0.4)], TASK)
    assert rows[0].edge == word
    assert len(remarks(rows)) == bool(word)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (5e-6, "5 µs"), (0.00471, "4.71 ms"), (2.34, "2.3 s"), (119.9, "2 min 0 s"), (200.0, "3 min 20 s")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (34108, "33.3 KiB"), (3 * 2**40, "3.0 TiB")])
def test_byte_sizes(count: int, text: str) -> None:
    assert byte_size(count) == text


def test_labels_keep_their_distance() -> None:
    places = spread_apart([0.0, 0.0, 0.5, 0.51, 1.0, 1.0], 0.1)
    assert places == sorted(places)
    assert all(b - a > 0.0999 for a, b in pairwise(places))
    assert places[0] >= 0
    assert places[-1] <= 1
    assert spread_apart([], 0.1) == []
