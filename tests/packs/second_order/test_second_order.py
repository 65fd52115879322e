"""What the matrix methods promise beyond the tests that every optimizer passes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core.catalog.sizes import element_count
from optim_core.catalog.specs import OptimizerSpec
from optim_core.errors import InvalidOption, WrapperConflict

pytest.importorskip("optim_core_second_order")

from optim_core_second_order import Muon, MuonClip, SophiaG
from optim_core_second_order.blocks import cut, joined
from optim_core_second_order.coefficients import SETS, triples_of
from optim_core_second_order.newton_schulz import orthogonalised
from optim_core_second_order.roots import inverse_roots

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


# Newton-Schulz -------------------------------------------------------------------------------------------------
def plainly(X: Tensor, steps: int) -> Tensor:
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        A = X @ X.mT
        X = a * X + b * A @ X + c * A @ A @ X
    return X


@pytest.mark.parametrize("name", sorted(SETS.keys() - {"cans"}))  # which grows past 1 in half precision by itself
@pytest.mark.parametrize("shape", [(2, 10), (4, 9), (8, 64), (3, 200)])
def test_one_large_singular_value_does_not_run_away_in_half_precision(name: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    noise = torch.logspace(0, -4, 40, dtype=torch.float64).reshape(-1, 1, 1) * torch.randn(40, *shape).double()
    X = torch.randn(40, shape[0], 1).double() @ torch.randn(40, 1, shape[1]).double() + noise
    X = (X / torch.linalg.matrix_norm(X, keepdim=True)).bfloat16()
    options = SETS[name].options
    triples = triples_of(name, options.get("ns_steps", 8), options.get("ns_end", "cycle"))
    singular = torch.linalg.svdvals(orthogonalised(X, triples).double())
    assert float(singular.max()) < 1.5


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 6, 40), (2, 40, 6), (1, 1, 7), (2, 8, 9)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_newton_schulz_on_the_gram_matrix(
    shape: tuple[int, ...], steps: int, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    X = torch.randn(shape, dtype=torch.float64)
    X[0, 0] = 1e-6 * X[0, 0]  # small singular values are where rounding grows
    X = X / torch.linalg.matrix_norm(X, keepdim=True)
    got = orthogonalised(X.to(dtype), [COEFFICIENTS] * steps)
    assert got.dtype is dtype
    torch.testing.assert_close(got.double(), plainly(X, steps), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_sets_of_coefficients(name: str, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    X = torch.randn(2, 6, 40, dtype=torch.float64)
    X = X / torch.linalg.matrix_norm(X, keepdim=True)
    wanted = X
    for a, b, c in SETS[name].triples:
        A = wanted @ wanted.mT
        wanted = a * wanted + (b * A + c * A @ A) @ wanted
    assert 0.5 < float(torch.linalg.svdvals(wanted).min()) <= float(torch.linalg.svdvals(wanted).max()) < 1.3
    for restarts in (None, (2, 4, 6, 8)):
        got = orthogonalised(X.to(dtype), SETS[name].triples, restarts)
        torch.testing.assert_close(got.double(), wanted, rtol=0, atol=tolerance)


def test_a_compiled_graph_serves_any_set_of_coefficients() -> None:
    """From the second set on coefficients are symbols in it, of which nothing may be asked."""
    torch.manual_seed(0)
    X = torch.randn(2, 6, 40, dtype=torch.float64)
    X = X / torch.linalg.matrix_norm(X, keepdim=True)
    compiled = torch.compile(orthogonalised, backend="aot_eager", fullgraph=True)
    for name in SETS:
        triples = SETS[name].triples[:5]
        torch.testing.assert_close(compiled(X, triples), orthogonalised(X, triples), rtol=0, atol=1e-10)


def test_a_set_brings_what_it_is_made_for() -> None:
    w = Parameter(torch.ones(3, 4))
    assert [Muon([w], ns_coefficients="turbo").defaults[o] for o in ("ns_steps", "ns_norm")] == [4, "aol"]
    assert Muon([w], ns_coefficients="turbo", ns_steps=6).defaults["ns_steps"] == 6
    group = Muon([{"params": [w], "ns_coefficients": "deepseekv4"}]).param_groups[0]
    assert (group["ns_steps"], group["ns_end"]) == (10, "repeat_last")
    with pytest.raises(
        InvalidOption, match=r"'polarexpress' is no set of coefficients\. Did you mean 'polar_express'\?"
    ):
        Muon([w], ns_coefficients="polarexpress")


# MuonClip: attention -------------------------------------------------------------------------------------------
def test_logits_are_those_of_one_step() -> None:
    q, other = Parameter(torch.ones(4, 3)), Parameter(torch.ones(2, 3))
    optimizer = MuonClip([{"params": [q], "qk_clip": "query"}, {"params": [other]}], lr=0.0)
    optimizer.observe_logits(q, torch.tensor([25.0, 50.0]))
    optimizer.observe_logits(q, torch.tensor([400.0, 30.0]))  # another micro-batch
    for _ in range(2):
        optimizer.minimize(lambda: q.sum() + other.sum())
        assert q[:, 0].tolist() == [0.5, 0.5, 1.0, 1.0]
    with pytest.raises(InvalidOption, match=r"of shape \(2, 3\) is in a group without qk_clip"):
        optimizer.observe_logits(other, torch.ones(2))
    with pytest.raises(InvalidOption, match=r"3 logits for a weight of shape \(4, 3\)"):
        optimizer.observe_logits(q, torch.ones(3))
    with pytest.raises(InvalidOption, match="none of its parameters"):
        optimizer.observe_logits(torch.ones(2, 2), torch.ones(2))


# blocks --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("longest", [0, 1, 2, 3, 4, 100])
@pytest.mark.parametrize("shape", [(2, 7), (3, 4, 6), (1, 5, 4, 3), (2, 1)])
def test_blocks_put_together_again(shape: tuple[int, ...], longest: int) -> None:
    x = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    blocks = cut(x, longest)
    assert torch.equal(joined(blocks, x, longest), x)
    assert sum(b.numel() for b in blocks) == x.numel()
    assert all(d <= (longest or d) for b in blocks for d in b.shape[1:])
    assert len({b.shape[1:] for b in blocks}) == len(blocks)  # those of one shape are stacked


OWN = [s for s in optim_core.find(pack="second_order") if isinstance(s, OptimizerSpec)]


@pytest.mark.parametrize("spec", OWN, ids=lambda spec: spec.name)
@pytest.mark.parametrize("shape", [(), (300,), (150, 20), (300, 130), (40, 7, 3, 3)])
def test_memory_of_large_tensors(spec: OptimizerSpec, shape: tuple[int, ...]) -> None:
    p = Parameter(torch.empty(shape))
    announced = optim_core.get(spec.name)([p]).state_bytes()
    assert announced == 4 * sum(element_count(size, shape) for size in spec.state.values())


# eigenvectors --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [spec.name for spec in OWN])
def test_a_gradient_that_is_not_finite_raises_no_error(name: str) -> None:
    w = Parameter(torch.ones(3, 4))
    optimizer = optim_core.get(name)([w])
    for factor in (math.nan, 1.0, math.inf):
        optimizer.minimize(lambda factor=factor: factor * w.square().sum())


def test_what_lapack_gives_up_in_float32_gets_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torch.linalg.eigh

    def stubborn(H: Tensor) -> Any:
        if H.dtype is torch.float32:
            raise torch.linalg.LinAlgError("failed to converge")
        return plain(H)

    monkeypatch.setattr(torch.linalg, "eigh", stubborn)
    H = torch.tensor([[[4.0, 0.0], [0.0, 16.0]]])
    (root,) = inverse_roots([H], 2, 0.0)
    assert root.dtype is torch.float32
    torch.testing.assert_close(root[0], torch.diag(torch.tensor([0.5, 0.25])))


# Muon: what goes where -----------------------------------------------------------------------------------------
class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm((2, 4))
        self.head_proj = nn.Linear(4, 4)


class Model(nn.Module):
    def __init__(self, *, tied: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.position = Parameter(torch.ones(3, 4))
        self.conv = nn.Conv1d(4, 4, 3)
        self.block = Block()
        self.output = nn.Linear(4, 5)
        self.frozen = Parameter(torch.ones(2, 2), requires_grad=False)
        if tied:
            self.output.weight = self.embedding.weight


HIDDEN = {
    "conv.weight",
    "block.multihead_attn.in_proj_weight",
    "block.multihead_attn.out_proj.weight",
    "block.head_proj.weight",
}


def hidden(optimizer: Any) -> set[str]:
    return {row.name for row in optim_core.explain(optimizer) if row.method == "Muon"}


@pytest.mark.parametrize("tied", [False, True])
def test_muon_gets_the_hidden_matrices(tied: bool) -> None:
    model = Model(tied=tied)
    assert hidden(Muon(model)) == HIDDEN
    assert hidden(optim_core.create_optimizer(model, "muon", weight_decay=0.1)) == HIDDEN
    rows = {row.name: row for row in Muon(model).explain()}
    assert set(rows) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert rows["embedding.weight"].method == "AdamW in Muon: an embedding"
    assert rows["position"].method == "AdamW in Muon: beside submodules, such as a position embedding"
    assert rows["block.norm.weight"].method == "AdamW in Muon: a normalisation layer"
    assert rows["output.bias"].method == "AdamW in Muon: fewer than two dimensions"
    if not tied:
        assert rows["output.weight"].method == "AdamW in Muon: the last layer, taken for the head"


def test_muon_s_routing_can_be_changed() -> None:
    groups = Muon.groups_of(Model(), hidden=lambda name, module, p: isinstance(module, nn.Conv1d) and p.ndim > 1)
    assert hidden(Muon(groups)) == {"conv.weight"}
    assert hidden(optim_core.create_optimizer(groups, "muon")) == {"conv.weight"}
    matrix, vector = Parameter(torch.ones(2, 2)), Parameter(torch.ones(2))
    assert hidden(Muon([("m", matrix), ("v", vector)])) == {"m"}
    assert not hidden(Muon([{"params": [matrix, vector], "use_muon": False}]))
    with pytest.raises(InvalidOption, match=r"use_muon=True in a group with a parameter of shape \(2,\)"):
        Muon([{"params": [matrix, vector], "use_muon": True}])


def test_muon_s_step_sizes() -> None:
    matrix, vector, own = Parameter(torch.ones(2, 2)), Parameter(torch.ones(2)), Parameter(torch.ones(3))

    def rates(**options: Any) -> list[tuple[float, float]]:
        groups = [{"params": [matrix, vector]}, {"params": [own], "use_muon": False, "lr": 0.5, "weight_decay": 0.25}]
        return [(group["lr"], group["weight_decay"]) for group in Muon(groups, **options).param_groups]

    assert rates() == [(0.02, 0.0), (pytest.approx(3e-4), 0.0), (0.5, 0.25)]
    assert rates(lr=0.2, weight_decay=0.1) == [(0.2, 0.1), (pytest.approx(3e-3), 0.0), (0.5, 0.25)]
    assert rates(adam_lr=0.7, adam_weight_decay=0.3) == [(0.02, 0.0), (0.7, 0.3), (0.5, 0.25)]


def test_muon_moves_all_directions_alike() -> None:
    w = Parameter(torch.diag(torch.tensor([1.0, 0.5, 0.1])))
    before = w.detach().clone()
    Muon([w], lr=1.0, ns_dtype="float32").minimize(lambda: w.square().sum())
    moved = torch.linalg.svdvals(before - w.detach())
    assert 0.6 < float(moved.min()) <= float(moved.max()) < 1.3
    wide = Parameter(torch.ones(1, 4))
    Muon([wide], lr=1.0, ns_dtype="float32", adjust_lr_fn="match_rms_adamw").minimize(wide.sum)
    assert 0.6 < float((1 - wide.detach()).norm()) / (0.2 * math.sqrt(4)) < 1.3


# Sophia-G: drawn labels ----------------------------------------------------------------------------------------
def test_labels_are_drawn_for_estimates_only() -> None:
    w = Parameter(torch.zeros(2, 3))
    y = torch.tensor([0, 2, -100, 1])
    seen = []

    def closure() -> Tensor:
        logits = torch.eye(2)[[0, 1, 1, 0]] @ w + torch.tensor([0.0, 0.0, -1e9])  # the last class is never drawn
        labels = optimizer.labels(logits, y)
        seen.append(labels.tolist())
        return nn.functional.cross_entropy(logits, labels)

    optimizer = SophiaG([w], lr=0.1, update_period=2, bs=4)
    for _ in range(5):
        optimizer.minimize(closure)
    given = y.tolist()
    assert [labels == given for labels in seen] == [True, True, False, True, True, False, True]
    assert all(labels[2] == -100 and 2 not in labels for labels in seen if labels != given)
    # the draws come from the saved generator
    twin = SophiaG([Parameter(w.detach().clone())], update_period=2)
    twin.load_state_dict(optimizer.state_dict())
    optimizer.sampling = twin.sampling = True
    logits, many = torch.zeros(500, 3), torch.zeros(500, dtype=torch.long)
    first = optimizer.labels(logits, many)
    assert torch.equal(first, twin.labels(logits, many))
    assert not torch.equal(first, optimizer.labels(logits, many))
    sequences = optimizer.labels(torch.zeros(2, 3, 5), torch.zeros(2, 5, dtype=torch.long))
    assert sequences.shape == (2, 5)


@pytest.mark.parametrize("wrapper", ["lookahead", "gc", "sam", "pcgrad"])
def test_estimates_are_taken_inside_wrappers(wrapper: str) -> None:
    w = Parameter(torch.ones(2, 3))
    inner = SophiaG([w], update_period=1)
    optimizer = optim_core.get_wrapper(wrapper)(inner)
    samples = []
    several = "multi_loss" in optim_core.info(wrapper).needs

    def closure() -> Any:
        samples.append(inner.sampling)
        return [w.square().sum(), w.sum()] if several else w.square().sum()

    for _ in range(3):
        optimizer.minimize(closure)
    assert sum(samples) == 2
    assert bool((inner.state[w]["hessian"] > 0).all())


def test_a_wrapper_sees_both_groups_that_muon_makes_of_one() -> None:
    optimizer = optim_core.get_wrapper("decay")(
        optim_core.get("muon")([Parameter(torch.ones(3, 4)), Parameter(torch.ones(3))])
    )
    late = [Parameter(torch.ones(3, 4)), Parameter(torch.ones(3))]
    with pytest.raises(WrapperConflict, match=r"Muon has weight_decay=0\.1"):  # of the matrix
        optimizer.add_param_group({"params": late, "weight_decay": 0.1})
    assert len(optimizer.param_groups) == 2
    optimizer.add_param_group({"params": late})
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1, 1, 1]
