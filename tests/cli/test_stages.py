"""`optim-core show NAME --stages`: what the compiler makes of a rule, printed."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

import optim_core
from optim_core.cli.app import app
from optim_core.engines.text import stages_text
from optim_core.rules import norm
from optim_core.rules.graph import Extent, Graph
from optim_core.rules.trace import Trace
from optim_core.rules.values import Level

PAGE = Path(__file__).parent.parent / "docs" / "compiler-engines.md"
#: The graph of Lion's rule; its weight decay is 0 by default.
LION = """\
v0   HOST     lr
v1   HOST     betas[0]
v2   HOST     betas[1]
v8   ELEMENT  p
v9   ELEMENT  g
v10  ELEMENT  exp_avg
v11  ELEMENT  lerp(v9, v10, v1)
v12  ELEMENT  sign(v11)
v13  ELEMENT  v0 * v12
v14  ELEMENT  v8 - v13
v15  ELEMENT  lerp(v9, v10, v2)
p becomes v14
exp_avg becomes v15
holds while bool(weight_decay) is False"""


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
    trace = Trace({"lr": 0.1})
    p, g, lr = trace.input("p", Level.ELEMENT), trace.input("g", Level.ELEMENT), trace.input("lr", Level.HOST)
    text = stages_text(Graph({"p": p - lr * (norm(p) / norm(g)) * g}, {}, trace, {"p": Extent(Level.ELEMENT)}))
    quoted = [block.partition("\n")[2].strip() for block in PAGE.read_text(encoding="utf-8").split("```")[1::2]]
    rule, *outputs = quoted
    assert "ratio * g" in rule
    assert len(outputs) == 8
    assert not [output for output in outputs if output not in text]
