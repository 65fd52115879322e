"""LoRA-RITE."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, decoupled, extra, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, lerp, maximum, mean, root, second_moment, sqrt, square, stacked, where
from optim_core_second_order.psgd import folded
from optim_core_second_order.roots import eigh
from optim_core_second_order.shapes import Shape
from optim_core_second_order.singular import svd

logger = logging.getLogger("optim_core")

#: Both factors of a pair, each with the number that it has among all parameters.
Pair = tuple[tuple[int, Tensor], tuple[int, Tensor]]

_FACTOR = re.compile("lora", re.IGNORECASE)


def _square(shape: Shape, group: Mapping[str, Any]) -> Shape | None:
    """A matrix of the size of the rank."""
    return (min(shape), min(shape)) if group["paired"] else None


def _second(shape: Shape, group: Mapping[str, Any]) -> Shape:
    return _square(shape, group) or shape


def _number(shape: Shape, group: Mapping[str, Any]) -> Shape | None:
    del shape
    return () if group["paired"] and group["apply_escape"] else None


class LoRARite(RuleOptimizer):
    """Adam for pairs of LoRA's factors, whose product moves alike however it is divided between the two.

    For factors A, B of one rank r, which follow each other: L and R are the two as tall matrices, r their columns, here
    for L (R has the same with both exchanged); c2, c1 are the decays that correct themselves, beta (1 - beta^(t - 1)) /
    (1 - beta^t), t counting from 1::

        L = Q_L T_L,  R = Q_R T_R                        QR;  P_R = pinv(T_R)
        U = G P_R                                        0 where its root mean square is above update_skipping
        U = U min(1, clip_unmagnified_grad / N)          N the norm of all U of the model
        Z = Q_R^T Q_R of the last step;  V' = Z V Z^T;  M' = M Z^T
        V = c2 V' + (1 - c2) U^T U / n                   n rows
        M = c1 M' + (1 - c1) U W (w^(1/2) + eps)^-1 W^T  V = W w W^T
        X = M / max(1, RMS(M) / update_capping)          with update_capping
        L = L (1 - lr weight_decay) - lr X P_R^T
        L, R = L (|R| / |L|)^(1/2), R (|L| / |R|)^(1/2)  with balance_param

    With ``apply_escape`` w is raised by e = c2 (e + the mass that V' has lost against V). The rank is the shorter side
    of a factor, so that any layout will do. Factors are matrices with "lora" in their names that follow each other and
    have one rank, as those of peft, torchtune and loralib do: build it with the model or ``model.named_parameters()``,
    or say ``paired=True`` of a group of factors, whatever their names. **Everything else gets AdamW** with the same
    options, all parameters if they have no names. Of a pair with one factor frozen the other one moves alone.

    A factor that is zero, as B is at first, has the pseudo-inverse 0: A stands still in the first step. **Where U is
    large a factor stands still**, too: the loss should be a mean, or update_skipping larger. What is inf in a gradient
    counts as NaN, and what is NaN in U W ... W^T as 0. N is taken of gradients as they are in ``p.grad``, before any
    transform. The authors' ``relative_epsilon`` ends in an error; it is not here, nor are ``maybe_inf_to_nan``, which
    is always on, and ``lora_l_dim`` and ``lora_r_dim``, which say what the shapes do.

    Raises:
        InvalidOption: with ``paired=True``, a parameter has no partner.

    Example:
        >>> import torch
        >>> A, B = torch.nn.Parameter(torch.eye(2, 3)), torch.nn.Parameter(torch.zeros(4, 2))
        >>> optimizer = LoRARite([A, B], lr=0.1, paired=True)
        >>> losses = [float(optimizer.minimize(lambda: (B @ A - 1).square().mean())) for _ in range(40)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: Yen et al., LoRA Done RITE: Robust Invariant Transformation Equilibration for LoRA Optimization, 2024,
    Algorithm 1, https://arxiv.org/abs/2410.20625; order and limits as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages M and V", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to the roots", gt=0)
    clip_unmagnified_grad: float = hyper(1.0, "largest norm of all U, 0 for any", ge=0)
    update_capping: float = hyper(0.0, "largest root mean square of X, 0 for any", ge=0)
    update_skipping: float = hyper(1.0, "largest root mean square of U that counts, 0 for any", ge=0)
    weight_decay: float = decoupled(0.0)
    apply_escape: bool = hyper(False, "make up for what V loses with the subspace")
    balance_param: bool = hyper(False, "scale the factors of a pair to one norm after each step")
    paired: bool | None = hyper(None, "whether parameters are pairs of factors; None for what names say")

    shrunk = extra("what U is multiplied by", when=lambda group: group["paired"] and group["clip_unmagnified_grad"] > 0)
    exp_avg = state("M, or AdamW's average of g")
    exp_avg_sq = state("V, or AdamW's average of g squared", shape=_second)
    inverse = state("P of the other factor", shape=_square)
    basis = state("Q", when="paired")
    escape = state("e", shape=_number)

    by_position = True

    # groups -----------------------------------------------------------------------------------------------------
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; one without ``paired`` is cut in two, the pairs and the others."""
        sure: bool | None = (self.defaults | self.method.check_group(param_group))["paired"]
        params = param_group["params"]
        listed = [params] if isinstance(params, Tensor) else params if isinstance(params, set) else list(params)
        pairs = [] if sure is False or isinstance(listed, set) else _pairs_of(listed, sure=bool(sure))
        if sure is None and not pairs and isinstance(listed, list) and _pairs_of(map(_tensor, listed), sure=True):
            logger.warning(
                "%s: no parameter has the name of a LoRA factor, so that AdamW gets them all: build it with the model, "
                "or with model.named_parameters(), or say paired=True of a group of factors",
                self.method.name,
            )
        chosen = {id(x) for x in pairs}
        others = [x for x in listed if id(x) not in chosen]
        if sure and others:
            raise InvalidOption(
                f"{self.method.name}: paired=True in a group with a parameter of shape "
                f"{tuple(_tensor(others[0]).shape)} that has no partner: factors follow each other, are matrices, but "
                "no square ones, and have the same shorter side; leave paired out, and AdamW gets what is no pair"
            )
        if pairs:
            super().add_param_group({**param_group, "params": pairs, "paired": True})
        if others or not pairs:
            super().add_param_group({**param_group, "params": others, "paired": False})

    def _pairs(self) -> Iterator[tuple[dict[str, Any], Pair]]:
        """The pairs with their groups."""
        number = 0
        for group in self.param_groups:
            numbered = list(enumerate(group["params"], start=number))
            number += len(numbered)
            if group["paired"]:
                yield from ((group, pair) for pair in zip(numbered[::2], numbered[1::2], strict=True))

    # a step -----------------------------------------------------------------------------------------------------
    def forget(self) -> None:
        """Drop what belongs to a step."""
        super().forget()
        self._moved: list[tuple[Tensor, Tensor]] = []

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """A step, and the balance of the pairs that it has moved."""
        self._moved = []
        loss = super().step(closure)
        with torch.no_grad():
            for pair in self._moved:
                a, b = (torch.linalg.vector_norm(p.double()) + 1e-6 for p in pair)
                for p, size in zip(pair, (a, b), strict=True):
                    p.copy_(p.double() * ((a * b).sqrt() / size))
        self._moved = []
        return loss

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Have what is kept of pairs follow their bases, and measure U."""
        self.begin()
        alike: dict[Any, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for group, pair in self._pairs():
            if all(p.grad is None for _, p in pair):
                continue
            for number, p in pair:
                self.start_state(p, group, number)
            A, B = (p for _, p in pair)
            steps = tuple(self.state[p]["step"] for p in (A, B))
            alike[id(group), A.shape, B.shape, A.dtype, A.device, steps].append((A, B))
            if group["balance_param"]:
                self._moved.append((A, B))
        options = {id(group): group for group in self.param_groups}
        for key, pairs in alike.items():
            self._follow(pairs, options[key[0]])
        return self._shrunk(params)

    def _follow(self, pairs: Sequence[tuple[Tensor, Tensor]], group: Mapping[str, Any]) -> None:
        """Turn the averages of pairs of one shape to the bases that their factors have now."""
        inverses, turns = [], []
        for factors in zip(*pairs, strict=True):
            Q, T = torch.linalg.qr(torch.stack([_tall(p.detach()).to(self.state[p]["basis"].dtype) for p in factors]))
            turns.append(Q.mT @ torch.stack([_tall(self.state[p]["basis"]) for p in factors]))
            inverses.append(_inverse(T))
            for p, basis in zip(factors, Q, strict=True):
                self.state[p]["basis"].copy_(_like(basis, p))
        for factors, Z, P in zip(zip(*pairs, strict=True), turns[::-1], inverses[::-1], strict=True):
            V = torch.stack([self.state[p]["exp_avg_sq"] for p in factors])
            turned = _symmetric(Z @ V @ Z.mT)
            turned = torch.where(turned.isnan(), 0, turned)
            lost = _lost(V, turned) if group["apply_escape"] else ()
            for p, inverse, z, v in zip(factors, P, Z, turned, strict=True):
                own = self.state[p]
                own["inverse"].copy_(inverse)
                own["exp_avg_sq"].copy_(v)
                own["exp_avg"].copy_(_like(_tall(own["exp_avg"]) @ z.mT, p))
            for p, e in zip(factors, lost, strict=False):
                own, beta = self.state[p], group["betas"][1]
                own["escape"].copy_((1 - (1 - beta) / (1 - beta ** (own["step"] + 1))) * (e + own["escape"]))

    def _shrunk(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """For each parameter what its U is multiplied by, so that their norm is not too large."""
        groups = {p: group for group in self.param_groups for p in group["params"]}
        clipped = [p for p in params if groups[p]["paired"]]
        if not any(groups[p]["clip_unmagnified_grad"] for p in clipped):
            return {}
        squares = [_unmagnified(self.state[p]["inverse"], p, groups[p]).double().square().sum() for p in clipped]
        N = torch.stack([x.to(squares[0].device) for x in squares]).sum().sqrt()
        factors = []
        for p in params:
            most = groups[p]["clip_unmagnified_grad"]
            factor = torch.where(most < N, most / N, 1.0) if most else N.new_ones(())
            factors.append(factor.to(p.device, self.state[p]["exp_avg"].dtype).expand(p.shape).contiguous())
        return {"shrunk": factors}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        shrunk: Value | None,
        exp_avg: Value,
        exp_avg_sq: Value,
        inverse: Value | None,
        escape: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        update_capping: Value,
        update_skipping: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        if inverse is None:
            m, v = lerp(g, exp_avg, betas[0]), lerp(square(g), exp_avg_sq, betas[1])
            c2 = 1 - betas[1] ** step
            p = p - lr / (1 - betas[0] ** step) * m / root(second_moment(v, c2), eps, c2)
            return p, m, v, None, None
        U = _times(where(abs(g) == float("inf"), float("nan"), g), inverse)
        if update_skipping > 0:
            U = where(sqrt(mean(square(U))) > update_skipping, 0, U)
        if shrunk is not None:
            U = U * shrunk
        D, V = _whitened(U, exp_avg_sq, escape, beta=folded(betas[1], step), eps=eps)
        X = M = lerp(D, exp_avg, folded(betas[0], step))
        if update_capping > 0:
            X = X / maximum(1, sqrt(mean(square(X))) / update_capping)
        return p - lr * _times(X, inverse, back=True), M, V, inverse, escape


# functions of stacks ----------------------------------------------------------------------------------------------
@stacked("element")
def _times(X: Tensor, P: Tensor, *, back: bool = False) -> Tensor:
    """X P, or X P^T, of tall matrices."""
    M = P.mT if back else P
    return M.mT @ X if _is_wide(X) else X @ M


@stacked("element", "own")
def _whitened(U: Tensor, V: Tensor, escape: Tensor | None, *, beta: float, eps: float) -> tuple[Tensor, Tensor]:
    """U by the root of V, and V."""
    X = _tall(U)
    V = _symmetric((1 - beta) * _symmetric(X.mT @ X) / X.shape[1] + beta * V)
    w, W = eigh(V)
    w = w.clamp(min=0) + (0 if escape is None else escape.unsqueeze(1))
    D = X @ ((W / (w.sqrt() + eps).unsqueeze(1)) @ W.mT)
    D = torch.where(D.isnan(), 0, D)
    return D.mT if _is_wide(U) else D, V


# matrices -----------------------------------------------------------------------------------------------------------
def _unmagnified(P: Tensor, p: Tensor, group: Mapping[str, Any]) -> Tensor:
    """U of a parameter's gradient as it is."""
    g = torch.zeros_like(p) if p.grad is None else p.grad
    U = _tall(torch.where(g.isinf(), torch.nan, g)).to(P.dtype) @ P
    most = group["update_skipping"]
    return torch.where(U.square().mean().sqrt() > most, 0, U) if most else U


def _lost(V: Tensor, turned: Tensor) -> Tensor:
    """The mass that each V has lost."""
    eigenvalues = (eigh(V)[0] - eigh(turned)[0]).amax(1).clamp(min=0)
    traces = (V.diagonal(dim1=1, dim2=2).sum(1) - turned.diagonal(dim1=1, dim2=2).sum(1)).clamp(min=0)
    return torch.minimum(eigenvalues, traces)


def _inverse(T: Tensor) -> Tensor:
    """Pseudo-inverses, 0 for zero."""
    U, S, Vh = svd(T)
    least = torch.finfo(S.dtype).eps * S.shape[1] * S.amax(1, keepdim=True)
    reciprocals = torch.where(least < S, 1 / S, torch.where(S.isnan(), S, 0))
    return Vh.mT @ (reciprocals.unsqueeze(2) * U.mT)


def _symmetric(X: Tensor) -> Tensor:
    return (X + X.mT) / 2


def _is_wide(X: Tensor) -> bool:
    return X.shape[-2] < X.shape[-1]


def _tall(X: Tensor) -> Tensor:
    return X.mT if _is_wide(X) else X


def _like(X: Tensor, p: Tensor) -> Tensor:
    """A tall matrix in the parameter's layout."""
    return X.mT if _is_wide(p) else X


# what pairs are -------------------------------------------------------------------------------------------------------
def _tensor(x: Any) -> Tensor:
    """The parameter of an entry, which may have a name."""
    found: Tensor = x[1] if isinstance(x, tuple) else x
    return found


def _rank(x: Any, *, sure: bool) -> int:
    """The shorter side of what is a factor; 0 of what is none."""
    p = _tensor(x)
    is_matrix = p.ndim == 2 and p.shape[0] != p.shape[1] and not p.is_complex()
    return min(p.shape) if is_matrix and (sure or (isinstance(x, tuple) and _FACTOR.search(x[0]))) else 0


def _pairs_of(entries: Iterable[Any], *, sure: bool) -> list[Any]:
    """Those entries of a group that are pairs; if that is sure, whatever their names."""
    found: list[Any] = []
    waiting: Any = None
    for x in entries:
        rank = _rank(x, sure=sure)
        if rank and waiting is not None and rank == _rank(waiting, sure=sure):
            found += [waiting, x]
            waiting = None
        else:
            waiting = x if rank else None
    return found
