"""QHM."""

from __future__ import annotations

import math
from typing import Any

from torch.optim.optimizer import ParamsT

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, gain, lerp


class QHM(RuleOptimizer):
    """Quasi-hyperbolic momentum: a step along a mixture of the gradient and its average.

    ::

        m = momentum m + (1 - momentum) g
        p = p - lr (nu m + (1 - nu) g)

    nu = 0 is plain SGD, nu = 1 dampened momentum, nu = momentum dampened Nesterov. m is an average and no sum: for the
    lr of momentum SGD take lr / (1 - its momentum), 1.0 for 0.1 at 0.9. It starts at zero and is not corrected, so that
    the first 1/(1 - momentum) steps are little more than SGD with lr (1 - nu). Other libraries have defaults of their
    own, some of which are SGD (momentum=0). Many methods are this one under other names: ``QHM.from_...`` builds it
    from their constants.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = QHM([w], lr=0.5, momentum=0.5, nu=0.5).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.25, -0.5]

    Source: Ma and Yarats, Quasi-hyperbolic momentum and Adam for deep learning, 2018, equations 3 and 4,
    https://arxiv.org/abs/1810.06801; the defaults are the authors' advice.
    """

    lr: float = hyper(1.0, "step size", ge=0, search=(1e-2, 10.0))
    momentum: float = hyper(0.999, "decay of the average of g", ge=0, lt=1)
    nu: float = hyper(0.7, "share of the average in the step, the rest is g's")
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")

    momentum_buffer = state("average of g")

    @staticmethod
    def rule(p: Value, g: Value, momentum_buffer: Value, *, lr: Value, momentum: Value, nu: Value) -> tuple[Value, ...]:
        """The update above."""
        momentum_buffer = lerp(g, momentum_buffer, momentum)
        return p - lr * gain(lerp(g, momentum_buffer, nu), 1.0), momentum_buffer

    # Each conversion follows from comparing transfer functions. With z the delay by one step, that of QHM is
    #     p / g = -lr z / (1 - z) * ((1 - nu momentum) - (1 - nu) momentum z) / (1 - momentum z).

    @classmethod
    def from_pid(cls, params: ParamsT, k_p: float, k_i: float, k_d: float, **options: Any) -> QHM:
        """A PID controller: p = p_0 + k_p e + k_i (sum of e) + k_d (average of e's changes), with e = -g.

        k_p < 0, k_i and k_d > 0; the average decays by k_d / (k_d - k_p).

        Raises:
            InvalidOption: a gain has the wrong sign.
        """
        if not (k_p < 0 < k_i and k_d > 0):
            raise InvalidOption(
                f"{cls.__name__}.from_pid: k_p={k_p:g}, k_i={k_i:g}, k_d={k_d:g}: k_p must be < 0, k_i and k_d > 0"
            )
        return cls(params, lr=k_i, momentum=k_d / (k_d - k_p), nu=k_p**2 / (k_i * k_d), **options)

    @classmethod
    def from_synthesized_nesterov(
        cls, params: ParamsT, alpha: float, beta1: float, beta2: float, **options: Any
    ) -> QHM:
        """Nesterov with two betas: x = x + beta1 (x - x') - alpha g(y), y = x + beta2 (x - x'), x' the x before.

        p is y, where gradients are taken.

        Raises:
            InvalidOption: beta1 is not in (0, 1).
        """
        if not 0 < beta1 < 1:
            raise InvalidOption(
                f"{cls.__name__}.from_synthesized_nesterov: beta1={beta1:g} is out of range: it must be > 0 and < 1"
            )
        return cls(params, lr=alpha / (1 - beta1), momentum=beta1, nu=1 - (1 - beta1) / beta1 * beta2, **options)

    @classmethod
    def from_robust_momentum(
        cls, params: ParamsT, smoothness: float, kappa: float, rho: float | None = None, **options: Any
    ) -> QHM:
        """Robust momentum (Cyrus et al., 2018, https://arxiv.org/abs/1710.04753) for a known curvature.

        Args:
            params: what to optimize.
            smoothness: the largest curvature L.
            kappa: the largest curvature over the smallest, > 1.
            rho: the rate, from 1 - 1/sqrt(kappa), triple momentum and the default, to 1 - 1/kappa, the most robust.
            options: further options, such as weight_decay.

        Raises:
            InvalidOption: a constant is out of range.
        """
        if not (smoothness > 0 and kappa > 1):
            raise InvalidOption(
                f"{cls.__name__}.from_robust_momentum: smoothness={smoothness:g}, kappa={kappa:g}: smoothness must be "
                "> 0 and kappa > 1"
            )
        fastest, safest = 1 - 1 / math.sqrt(kappa), 1 - 1 / kappa
        rho = fastest if rho is None else rho
        if not fastest <= rho <= safest:
            raise InvalidOption(
                f"{cls.__name__}.from_robust_momentum: rho={rho:g} is out of range: it must be >= {fastest:g} and "
                f"<= {safest:g}"
            )
        alpha = kappa * (1 - rho) ** 2 * (1 + rho) / smoothness
        beta = kappa * rho**3 / (kappa - 1)
        gamma = rho**3 / ((kappa - 1) * (1 - rho) ** 2 * (1 + rho))
        return cls.from_synthesized_nesterov(params, alpha, beta, gamma, **options)

    @classmethod
    def from_accsgd(
        cls, params: ParamsT, lr: float, kappa: float, xi: float, small_const: float = 0.7, **options: Any
    ) -> QHM:
        """AccSGD with these constants."""
        c = small_const
        return cls(
            params,
            lr=lr * c * (1 + xi) / (1 + c),
            momentum=(kappa - c**2 * xi) / (kappa + c * xi),
            nu=(c * xi - 1) / (c * (1 + xi)),
            **options,
        )

    @classmethod
    def from_two_state_optimizer(
        cls,
        params: ParamsT,
        h: float,
        k: float,
        l: float,  # noqa: E741 - the paper's letter
        m: float,
        q: float,
        z: float,
        **options: Any,
    ) -> QHM:
        """Any linear method with one buffer a: new a = h a + k p + l g, new p = m a + q p + z g, with the old a and p.

        Raises:
            InvalidOption: the method is none that keeps p where it is while g = 0 and a has come to rest.
        """
        momentum = h + q - 1
        if not (0 <= momentum < 1 and math.isclose(h * q - k * m, momentum, abs_tol=1e-9)):
            raise InvalidOption(
                f"{cls.__name__}.from_two_state_optimizer: [[h, k], [m, q]] = [[{h:g}, {k:g}], [{m:g}, {q:g}]] must "
                "have the eigenvalues 1 and h + q - 1, the latter >= 0 and < 1"
            )
        old = m * l - z * h  # the share of the gradient of the step before
        lr = -(z + old) / (1 - momentum)
        return cls(params, lr=lr, momentum=momentum, nu=1 - old / (lr * momentum) if momentum else 1.0, **options)
