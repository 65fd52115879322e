"""Methods for hidden matrices, with AdamW for everything else: who gets what, and the part that AdamW does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from optim_core import hyper, state
from optim_core.errors import InvalidOption
from optim_core.methods import Hyper, State, argument, in_blocks
from optim_core.optimizers import Explanation, Row, RuleOptimizer
from optim_core.rules import Value, lerp, sqrt, square
from optim_core_second_order.blockwise import BlocksChoice, with_blocks
from optim_core_second_order.routing import routes

#: The authors' step sizes of Muon: 3e-4 for AdamW beside 0.02 for the matrices.
MUON_SHARE = 3e-4 / 0.02


@dataclass(frozen=True)
class Word:
    """Something that a rule may take by keyword beside options: made of the options in force, which it need not see.

    Attributes:
        options: the names of those options.
        made: called with them, returns what the rule gets.
    """

    options: tuple[str, ...]
    made: Callable[..., Any]


class HiddenMatrices(RuleOptimizer):
    """Base of methods for hidden matrices: ``rule`` is the update of those, and the rest of a model goes to AdamW.

    A state that a subclass declares belongs to the matrices. Its rule may take the base's words (:attr:`words`).
    """

    use_muon: bool | None = argument(
        default=hyper(None, "False leaves a group to AdamW; None: what has fewer than 2 dimensions"), kw_only=True
    )
    adam_lr: float | None = argument(
        default=hyper(None, "AdamW's step size, None for the authors' share of lr", ge=0), kw_only=True
    )
    adam_betas: tuple[float, float] = argument(
        default=hyper((0.9, 0.95), "AdamW's decay of the averages of g and g^2", ge=0, lt=1), kw_only=True
    )
    adam_eps: float = argument(default=hyper(1e-10, "added to AdamW's root", ge=0), kw_only=True)
    adam_weight_decay: float = argument(
        default=hyper(0.0, "AdamW's weight decay, times its step size", ge=0), kw_only=True
    )

    blocks: str | None = in_blocks()

    exp_avg = state("AdamW's average of g", when=lambda group: not group["use_muon"])
    exp_avg_sq = state("AdamW's average of g squared", when=lambda group: not group["use_muon"])

    #: AdamW's lr as a share of the other one, where it is not given.
    adam_share: ClassVar[float] = MUON_SHARE
    #: What rules may take beside options.
    words: ClassVar[Mapping[str, Word]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        for name, declared in list(vars(cls).items()):
            if isinstance(declared, State) and declared.when is None and cls.__module__ != __name__:
                setattr(cls, name, replace(declared, when="use_muon"))
        if "rule" in vars(cls):
            cls.rule = staticmethod(_routed(cls, vars(cls)["rule"].__func__))  # type: ignore[attr-defined]
        super().__init_subclass__(**keywords)

    @classmethod
    def groups_of(
        cls,
        model: nn.Module,
        hidden: Callable[[str, nn.Module, nn.Parameter], bool] | None = None,
        blocks: BlocksChoice | None = None,
    ) -> list[dict[str, Any]]:
        """Groups for a whole model: hidden matrices, one group for each kind of blocks, and for AdamW one a reason.

        Args:
            model: the model.
            hidden: which parameters the method gets, if not by the rule of :mod:`~optim_core_second_order.routing`.
            blocks: what matrices are made of, as :func:`~optim_core_second_order.blockwise.with_blocks` takes it.
        """
        groups: dict[str, list[tuple[str, nn.Parameter]]] = {"": []}
        for name, module, p, exception in routes(model):
            reason = exception if hidden is None else "" if hidden(name, module, p) else "chosen by hidden"
            groups.setdefault(reason, []).append((name, p))
        matrices = [{"params": params, "use_muon": True} for params in [groups.pop("")] if params]
        others = [{"params": params, "use_muon": False, "route": reason} for reason, params in groups.items()]
        return [*(matrices if blocks is None else with_blocks(matrices, model, blocks)), *others]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; one without ``use_muon`` is cut in two, the matrices and the others."""
        given = self.method.check_group(param_group)
        for part in list(self._parts(param_group, self.defaults | given, frozenset(given))):
            super().add_param_group(part)

    def _parts(
        self, group: Mapping[str, Any], options: Mapping[str, Any], given: frozenset[str]
    ) -> Iterator[dict[str, Any]]:
        params = group["params"]
        listed = [params] if isinstance(params, Tensor) else params if isinstance(params, set) else list(params)
        matrices = [x for x in listed if _tensor(x).ndim >= 2]
        others = [x for x in listed if _tensor(x).ndim < 2]
        adam_lr = self.adam_share * options["lr"] if options["adam_lr"] is None else options["adam_lr"]
        adam: dict[str, Any] = {"lr": adam_lr, "weight_decay": options["adam_weight_decay"]}
        adam = {name: x for name, x in adam.items() if name in self.hypers}
        if options["use_muon"] is False:
            own = {name: options[name] for name in adam if name in given}
            yield {**group, "params": listed, **adam, **own, "use_muon": False, "blocks": None}
            return
        if options["use_muon"] and others:
            raise InvalidOption(
                f"{self.method.name}: use_muon=True in a group with a parameter of shape "
                f"{tuple(_tensor(others[0]).shape)}, but it works on matrices: leave use_muon out, and AdamW gets what "
                "has fewer than two dimensions"
            )
        if matrices or not others:
            yield {**group, "params": matrices, "use_muon": True}
        if others:
            route = "fewer than two dimensions"
            yield {**group, "params": others, **adam, "use_muon": False, "route": route, "blocks": None}

    def place_of(self, p: Tensor) -> tuple[int, dict[str, Any]]:
        """The number of a parameter among all, and its group.

        Raises:
            InvalidOption: it is not one of this optimizer's.
        """
        pairs = ((q, group) for group in self.param_groups for q in group["params"])
        for number, (q, group) in enumerate(pairs):
            if q is p:
                return number, group
        raise InvalidOption(f"{self.method.name}: a tensor of shape {tuple(p.shape)} is none of its parameters")

    def explain(self) -> Explanation:
        """Say what is in force for each parameter, and why; print it."""
        return Explanation(tuple(map(_row, super().explain())))


# rules -----------------------------------------------------------------------------------------------------------
_ADAM_OPTIONS = ("lr", "adam_betas", "adam_eps", "step")


def _routed(cls: type[HiddenMatrices], rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule for matrices, and AdamW where there are AdamW's states; with the options that its words are made of."""
    parameters = inspect.signature(rule).parameters
    own = [q.name for q in parameters.values() if q.kind is q.POSITIONAL_OR_KEYWORD][2:]
    words = {name: cls.words[name] for name in parameters if name in cls.words}
    keywords = [q.name for q in parameters.values() if q.kind is q.KEYWORD_ONLY and q.name not in words]
    declared = {**cls.method.states, **vars(cls)}
    written = [name for name in own if isinstance(declared.get(name), State)]
    decays = "weight_decay" in cls.method.hypers or isinstance(vars(cls).get("weight_decay"), Hyper)
    # the core sees to a decay that the rule does not take; matrices may have none
    decay = "weight_decay" if "weight_decay" in keywords else None if decays else "adam_weight_decay"
    adam = (*_ADAM_OPTIONS, *([decay] if decay else []))

    def routed(p: Value, g: Value, *states: Any, **options: Any) -> tuple[Any, ...]:
        *mine, exp_avg, exp_avg_sq = states
        if exp_avg is not None and exp_avg_sq is not None:
            given = {name: options[name] for name in _ADAM_OPTIONS}
            p, *moments = adamw(p, g, exp_avg, exp_avg_sq, weight_decay=options[decay] if decay else 0.0, **given)
            return p, *(None for _ in written), *moments
        made = {name: word.made(**{o: options[o] for o in word.options}) for name, word in words.items()}
        new = rule(p, g, *mine, **{name: options[name] for name in keywords}, **made)
        return *(new if isinstance(new, tuple) else (new,)), None, None

    taken = dict.fromkeys((*keywords, *(name for word in words.values() for name in word.options), *adam))
    positions = ("p", "g", *own, "exp_avg", "exp_avg_sq")
    signature = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in positions]
        + [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in taken]
    )
    routed.__doc__, routed.__qualname__, routed.__module__ = rule.__doc__, rule.__qualname__, rule.__module__
    routed.__signature__ = signature  # type: ignore[attr-defined]
    return routed


def adamw(
    p: Value,
    g: Value,
    exp_avg: Value,
    exp_avg_sq: Value,
    *,
    lr: Value,
    adam_betas: tuple[Value, Value],
    adam_eps: Value,
    step: Value,
    weight_decay: Value | float = 0.0,
) -> tuple[Value, Value, Value]:
    """AdamW; ``weight_decay`` only where the core does not see to it."""
    beta1, beta2 = adam_betas
    exp_avg = lerp(g, exp_avg, beta1)
    exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
    d = sqrt(exp_avg_sq / (1 - beta2**step)) + adam_eps
    p = p if isinstance(weight_decay, float) else p * (1 - lr * weight_decay)
    return p - lr / (1 - beta1**step) * exp_avg / d, exp_avg, exp_avg_sq


def _tensor(x: Any) -> Tensor:
    """A parameter that may come with its name."""
    return x[1] if isinstance(x, tuple) else x  # type: ignore[no-any-return]


def _row(row: Row) -> Row:
    """A row that tells the two methods apart."""
    route = row.options.get("route", "asked for")
    hidden = {"use_muon", "route"}
    options = {k: v for k, v in row.options.items() if k not in hidden}
    if row.options["use_muon"]:
        return replace(row, options={k: v for k, v in options.items() if not k.startswith("adam_")})
    mine = {k: v for k, v in options.items() if k in ("adam_betas", "adam_eps", "maximize")}
    return replace(row, method=f"AdamW in {row.method}: {route}", options=mine)
