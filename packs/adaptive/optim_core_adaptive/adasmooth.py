"""AdaSmooth."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, denominator, second_moment, sqrt, square


class AdaSmooth(RuleOptimizer):
    """Divides by an average square that forgets quickly where the weight moves straight on, slowly where it wavers.

    x is the last move of p (with its decay in this step); the sums are over all moves so far, or the last ``window``::

        e = |sum x| / (sum |x| + eps)             1 for a straight way, 0 for a walk in circles
        c = (rho2 - rho1) e + 1 - rho2            betas are (rho1, rho2): quick and slow decay
        v = c^2 g^2 + (1 - c^2) v
        p = p - lr g / sqrt(v + eps)

    Nothing is corrected: in the first step c = 1 - rho2, so it is up to 1/(1 - rho2) = 100 times as long as lr. Moves
    much smaller than eps count as wavering. Whatever else changes p between steps counts as a move.

    The paper means e over an epoch; programs never restart the sums, which is window=None. A window costs that many
    times the parameters' memory.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaSmooth([w]).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Lu, AdaSmooth: An Adaptive Learning Rate Method based on Effective Ratio, 2022, Algorithm 1,
    https://arxiv.org/abs/2204.00825; eps in e as in programs (the paper would divide 0 by 0 in step 1).
    """

    lr: float = hyper(1e-3, "step size; first steps are up to 100 times as long", ge=0, search=(1e-4, 1e-2))
    betas: tuple[float, float] = hyper((0.5, 0.99), "decay where p moves straight on, and where it wavers", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to v and to the sum of moves", gt=0)
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")
    window: int | None = hyper(None, "number of moves that count, None for all", ge=1)

    exp_avg_sq = state("average of g squared")
    prev_param = state("p before the last step, after its decay", start="p")
    s = state("sum of the moves", when=lambda group: group["window"] is None)
    n = state("sum of their magnitudes", when=lambda group: group["window"] is None)
    moves = state("the last moves", when="window", copies="window")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg_sq: Value,
        prev_param: Value,
        s: Value,
        n: Value,
        moves: list[Value],
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        window: Value | None,
        step: Value,
    ) -> tuple[Value | list[Value], ...]:
        """The update above."""
        rho1, rho2 = betas
        x = p - prev_param
        if window is None:
            s, n = s + x, n + abs(x)
        else:
            place = int((step - 1) % window)
            moves = [*moves[:place], x, *moves[place + 1 :]]
            s, n = sum(moves[1:], moves[0]), sum(map(abs, moves[1:]), abs(moves[0]))
        e = abs(s) / (n + eps)
        c2 = square((rho2 - rho1) * e + 1 - rho2)
        exp_avg_sq = c2 * square(g) + (1 - c2) * exp_avg_sq
        v = second_moment(exp_avg_sq)
        return p - lr * g / denominator(sqrt(v + eps), bare=sqrt(v)), exp_avg_sq, p, s, n, moves
