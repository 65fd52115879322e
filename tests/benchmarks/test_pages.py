"""The pages on matrices and on sharpness, from few and small measurements."""

from __future__ import annotations

import pytest
import torch

from benchmarks import (
    contenders,
    matrices,
    sharpness,
)
from benchmarks.contenders import KOZISTR, OURS


def test_the_cost_of_sharpness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sharpness, "LIVES", 2)
    threads = torch.get_num_threads()
    try:
        sharpness.main(["--only", "sam,looksam", "--rounds", "4"])
    finally:
        torch.set_num_threads(threads)
    page = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.endswith("% |")]
    ours = [("sam", OURS), ("looksam", OURS), ("sam", sharpness.BY_HAND)]
    assert [tuple(line[:2]) for line in lines if line[1] != KOZISTR] == ours
    for _, _, step, without, over, *shares in lines:
        assert float(step) - float(without) == pytest.approx(float(over), abs=0.011)
        assert all(share.endswith("%") for share in shares)


def test_methods_on_matrices_are_compared_profiled_and_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    case = matrices.Case(
        "muon", ((2, (8, 16)),), 2, {"ns_steps": 3}, ((contenders.TORCH, "Muon", "", {"ns_steps": 3}),)
    )
    (row,) = matrices.compared(case, 2, lambda _: None)
    assert (row["method"], row["matrices"], row["other"]) == ("muon", "2 of 8 x 16", "torch")
    assert row["faster by"] == f"{float(row['its ms']) / float(row['ms']):.2f} x" or float(row["its ms"]) < 1
    monkeypatch.setattr(matrices, "_PROFILED", (1, (8, 8)))
    compared_with, usual = matrices.profiled(case)
    assert (compared_with["options"], usual["options"]) == ("ns_steps=3", "defaults")
    assert "bmm" in compared_with["of it"]
    assert 0 < int(compared_with["inside"].rstrip("%")) < 100
    monkeypatch.setattr(matrices, "GROWTH_COUNTS", (1, 3))
    one, three = matrices.grown(case, 1)
    assert one["state, MB"] == one["declared, MB"] == "0.13"
    assert three["state, MB"] == three["declared, MB"] == "0.39"


def test_a_library_without_the_method_leaves_our_time() -> None:
    case = matrices.Case("muon", ((1, (4, 4)),), 1, {}, (("torch", "NoSuchMethod", "", {}),))
    said: list[str] = []
    (row,) = matrices.compared(case, 1, said.append)
    assert row["other"] == row["its ms"] == ""
    assert any("NoSuchMethod" in text for text in said)


def test_the_page_of_matrices() -> None:
    found = matrices.Findings(times=[{"method": "muon", "ms": "1.0"}])
    text = matrices.page(found, 7)
    assert "| method | ms |\n| --- | --- |\n| muon | 1.0 |" in text
    assert "Not measured." in text
