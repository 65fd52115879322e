"""`optim-core show NAME --stages`: what the compiler makes of a rule, printed."""

from __future__ import annotations

import doctest

from click.testing import CliRunner, Result
from support import ROOT

import optim_core
from optim_core.cli.app import app
from optim_core.engines.text import stages_text

PAGE = ROOT / "docs" / "compiler.md"
#: The graph of Lion's rule; its weight decay is 0 by default.
LION = """\
GUARD    bool(weight_decay) == False
ELEMENT  v11 = lerp(g, exp_avg, betas[0])
ELEMENT  v12 = sign(v11)
ELEMENT  v13 = mul(lr, v12)
ELEMENT  v14 = sub(p, v13)
ELEMENT  v15 = lerp(g, exp_avg, betas[1])
WRITE    p <- v14
WRITE    exp_avg <- v15"""


def show(name: str) -> Result:
    return CliRunner().invoke(app, ["show", name, "--stages"], catch_exceptions=False)


def part(text: str, title: str) -> str:
    """The lines under a title."""
    return text.partition(f"# {title}\n")[2].partition("\n\n# ")[0].strip()


def test_every_rule_can_be_shown() -> None:
    for spec in optim_core.find(kind="optimizer"):
        done = show(spec.name)
        assert done.exit_code == 0, done.output
        for title in ("Graph", "Update: sweeps and stages", "Update: C", "Update: Triton"):
            assert part(done.output, title), (spec.name, title)


def test_a_graph_is_shown_value_by_value() -> None:
    assert part(show("lion").output, "Graph") == LION


def test_passes_for_totals_and_calls_are_shown() -> None:
    assert "over all tensors" in show("prodigy").output
    assert " = " in part(show("shampoo").output, "Call")


def test_what_has_no_rule_is_refused() -> None:
    done = show("constant")
    assert done.exit_code == 2
    assert "--stages is for an optimizer with a rule" in done.output


def test_the_example_of_the_page_is_real() -> None:
    page = PAGE.read_text(encoding="utf-8")
    example = doctest.DocTestParser().get_doctest(page, {}, PAGE.name, str(PAGE), 0)
    assert doctest.DocTestRunner().run(example, clear_globs=False).failed == 0
    text = stages_text(example.globs["graph"])
    quoted = [block.partition("\n")[2].strip() for block in page.split("```")[1::2] if not block.startswith("python")]
    assert len(quoted) == 7
    assert not [output for output in quoted if output not in text]
