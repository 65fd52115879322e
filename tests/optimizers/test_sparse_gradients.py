"""Sparse gradients: the rows that occur are updated by the rule, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support.methods import optimizers
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import SparseGradient, UnsupportedParameter

pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # torch's own optimizers do not ask for them

LAZY = [spec.name for spec in optimizers() if spec.sparse]
#: The rows that occur in each batch; one twice, one in no batch, and once none at all.
BATCHES = ((4, 1, 4), (1,), (), (0, 4), (5, 1))
each_lazy = pytest.mark.parametrize("name", LAZY)


def table() -> Parameter:
    k = torch.arange(21, dtype=torch.float64)
    return Parameter(torch.sin(1.7 * k).reshape(7, 3))


def lookup(p: Tensor, rows: Sequence[int], *, sparse: bool = True) -> Tensor:
    picked = torch.nn.functional.embedding(torch.tensor(rows, dtype=torch.long), p, sparse=sparse)
    return (picked - 0.3).square().sum() + picked.sum()


def trained(optimizer: Any, p: Tensor, *, sparse: bool = True) -> Tensor:
    for rows in BATCHES:
        optimizer.zero_grad()
        lookup(p, rows, sparse=sparse).backward()
        optimizer.step()
    return p.detach()


@pytest.mark.parametrize("engine", ["eager", "native"])
@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("sparseadam", torch.optim.SparseAdam, {"betas": (0.8, 0.95)}),
        ("sgd", torch.optim.SGD, {}),
        ("adagrad", torch.optim.Adagrad, {"lr_decay": 0.1}),
    ],
)
def test_as_in_torch(name: str, theirs: Any, options: dict[str, Any], engine: str) -> None:
    p, q = table(), table()
    got = trained(optim_core.get(name)([p], lr=0.1, engine=engine, **options), p)
    torch.testing.assert_close(got, trained(theirs([q], lr=0.1, **options), q), rtol=1e-12, atol=1e-12)


@each_lazy
def test_rows_that_do_not_occur_stay_with_their_states(name: str) -> None:
    p = table()
    optimizer = optim_core.get(name)([p], lr=0.1)
    trained(optimizer, p)
    before = {"p": p.detach().clone(), **{key: torch.as_tensor(x).clone() for key, x in optimizer.state[p].items()}}
    optimizer.zero_grad()
    lookup(p, (2, 6)).backward()
    optimizer.step()
    for key, x in {"p": p.detach(), **optimizer.state[p]}.items():
        if isinstance(x, Tensor) and x.shape[:1] == p.shape[:1]:
            changed = (x != before[key]).flatten(1).any(dim=1)
            assert not changed[[0, 1, 3, 4, 5]].any(), key
    assert optimizer.state[p]["step"] == len(BATCHES) + 1


@each_lazy
def test_a_sparse_gradient_of_all_rows_is_the_dense_one(name: str) -> None:
    p, q = table(), table()
    for x, sparse in ((p, True), (q, False)):
        optimizer = optim_core.get(name)([x], lr=0.1)
        for _ in range(4):
            optimizer.minimize(lambda x=x, sparse=sparse: lookup(x, range(7), sparse=sparse))
    assert torch.equal(p, q)


def test_sm3_steps_as_from_the_dense_gradient() -> None:
    p, q = table(), table()
    sparse, dense = (optim_core.get("sm3")([x], lr=0.1) for x in (p, q))
    torch.testing.assert_close(trained(sparse, p), trained(dense, q, sparse=False), rtol=0, atol=0)
    assert torch.equal(sparse.state[p]["accumulator_1"], dense.state[q]["accumulator_1"])


def test_complex_and_half_precision_rows() -> None:
    for dtype in (torch.complex64, torch.bfloat16):
        p, q = (Parameter(table().detach().to(dtype)) for _ in range(2))
        values = torch.full((2, 3), 0.5).to(dtype)
        p.grad = torch.sparse_coo_tensor(torch.tensor([[5, 2]]), values, (7, 3))
        q.grad = p.grad.to_dense()
        for x in (p, q):
            optim_core.get("adagrad")([x], lr=0.1).step()
        assert torch.equal(p, q)


def test_other_layouts_are_refused() -> None:
    p = table()
    p.grad = torch.ones(7, 3, dtype=torch.float64).to_sparse()
    with pytest.raises(SparseGradient, match=r"as rows.*sparse=False"):
        optim_core.get("sgd")([p], lr=0.1).step()
    p = table()
    lookup(p, (1,)).backward()
    p.data = torch.zeros(8, 3, dtype=torch.float64)
    with pytest.raises(UnsupportedParameter, match="does not fit"):
        optim_core.get("sgd")([p], lr=0.1).step()


def test_what_is_composed_with_a_rule_is_refused() -> None:
    p = table()
    optimizer = optim_core.get_wrapper("gc")(optim_core.get("sgd")([p], lr=0.1))
    lookup(p, (1,)).backward()
    with pytest.raises(SparseGradient, match="composed with its rule"):
        optimizer.step()
    assert torch.equal(p, table())


def test_other_methods_name_those_that_take_them() -> None:
    p = table()
    lookup(p, (1,)).backward()
    with pytest.raises(SparseGradient, match="such as sparseadam, adagrad or sgd"):
        optim_core.get("adam")([p], lr=0.1).step()
