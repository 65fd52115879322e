"""Specs: a method's names, paper, licence, needs and state, known before anything of it is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal, NoReturn, TypeAlias, get_args

from optim_core.catalog.needs import NEEDS, Need
from optim_core.catalog.sizes import SIZES, is_size
from optim_core.catalog.targets import is_target
from optim_core.errors import SpecError
from optim_core.names import did_you_mean, normalise

KindName: TypeAlias = Literal["optimizer", "scheduler", "wrapper"]
BaseForm: TypeAlias = Literal["optimizer", "params_and_class"]

#: What `create_optimizer` can give to an argument of a plain class, each in words.
ARGUMENTS: Mapping[str, str] = {
    "model": "the model",
    "named_parameters": "pairs of name and parameter, those that are trained",
}

_SIZES = "a size for each name, such as {'exp_avg': 'element'}"
_SOURCES = f"one of {', '.join(ARGUMENTS)} for each name, such as {{'net': 'model'}}"

_ID = r"[A-Za-z0-9][A-Za-z0-9.\-]*\+?"
_LICENSE = re.compile(rf"\(*{_ID}\)*(?: (?:AND|OR|WITH) \(*{_ID}\)*)*")
_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The publication of a method."""

    title: str
    url: str
    year: int


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The declaration of one method by its pack. Use the subclass of its kind.

    Args:
        name: lower case, words joined by ``_``; compared in the form of :func:`optim_core.names.normalise`.
        target: the class as ``"module:Class"``; imported when somebody asks for it, not before.
        summary: one line in plain words.
        license: SPDX expression of this implementation.
        aliases: other names; a name always wins over an alias.
        paper: where it was published.
        code: URL of the authors' code.
        code_license: SPDX expression of the authors' code, or ``"none found"``.
        needs: what it needs besides gradients, keys of :data:`optim_core.catalog.NEEDS`.

    Raises:
        SpecError: a field has another form.

    Example:
        >>> OptimizerSpec(name="lion", target="acme.lion:Lion", summary="Sign of momentum.", license="MIT").kind
        'optimizer'
    """

    kind: ClassVar[KindName]
    _more_texts: ClassVar[tuple[str, ...]] = ()
    #: Fields that hold a mapping of texts, and what is said of one that does not.
    _more_mappings: ClassVar[Mapping[str, str]] = {}
    _more_tuples: ClassVar[tuple[str, ...]] = ()

    name: str
    target: str
    summary: str
    license: str
    aliases: tuple[str, ...] = ()
    paper: Paper | None = None
    code: str = ""
    code_license: str = ""
    needs: tuple[Need, ...] = ()

    def __post_init__(self) -> None:
        if not hasattr(self, "kind"):
            raise SpecError(f"{self.name!r}: use OptimizerSpec, SchedulerSpec or WrapperSpec instead of Spec")
        self._check_types()
        self._check_names()
        if not is_target(self.target):
            self._reject("target", self.target, "'module:Class'")
        if not self.summary:
            self._reject("summary", self.summary, "one line")
        if not is_license(self.license):
            self._reject("license", self.license, "an SPDX expression such as 'Apache-2.0'")
        if self.code_license not in ("", "none found") and not is_license(self.code_license):
            self._reject("code_license", self.code_license, "an SPDX expression or 'none found'")
        for need in self.needs:
            if need not in NEEDS:
                self._reject("needs", need, f"one of {', '.join(NEEDS)}.{did_you_mean(need, NEEDS)}")

    def _check_types(self) -> None:
        """Refuse what a listing cannot print in its line, or would take for something else."""
        texts = ("name", "target", "summary", "license", "code", "code_license", *self._more_texts)
        try:
            printable = "".join([getattr(self, name) for name in texts]).isprintable()
        except TypeError:
            printable = False
        if not printable:
            for name in texts:
                self._check_text(name, getattr(self, name))
        for name in ("aliases", "needs", *self._more_tuples):
            value = getattr(self, name)
            if value != () and not (isinstance(value, tuple) and all(isinstance(item, str) for item in value)):
                self._reject(name, value, "a tuple of texts, such as ('one',)")
        self._check_mappings()
        paper: object = self.paper
        if paper is not None:
            if not isinstance(paper, Paper) or type(paper.year) is not int:
                self._reject("paper", paper, "a Paper with a year such as 2023")
            self._check_text("paper.title", paper.title)
            self._check_text("paper.url", paper.url)

    def _check_mappings(self) -> None:
        for name, expected in self._more_mappings.items():
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                self._reject(name, value, expected)
            # whatever kind of mapping it was, a plain one can be copied, pickled and written as JSON
            object.__setattr__(self, name, dict(value))
            for key, item in value.items():
                self._check_text(name, key)
                self._check_text(f"{name}[{key!r}]", item)

    def _check_text(self, field_name: str, value: object) -> None:
        if not isinstance(value, str) or not value.isprintable():
            self._reject(field_name, value, "one line of printable text")

    def _check_arguments(self, arguments: Mapping[str, str]) -> None:
        for name, value in arguments.items():
            if not name.isidentifier():
                self._reject("arguments", name, "the name of an argument of the constructor")
            if value not in ARGUMENTS:
                expected = f"one of {', '.join(ARGUMENTS)}.{did_you_mean(value, ARGUMENTS)}"
                self._reject(f"arguments[{name!r}]", value, expected)

    def _check_names(self) -> None:
        names = (self.name, *self.aliases)
        for name in names:
            if not _NAME.fullmatch(name):
                self._reject("name", name, "lower-case letters, digits and single '_' between them")
        if len(names) > 1 and len({normalise(name) for name in names}) < len(names):
            self._reject("aliases", self.aliases, "different from the name and from each other")

    def _reject(self, field_name: str, value: object, expected: str) -> NoReturn:
        raise SpecError(f"spec {self.name!r}: {field_name}={value!r} should be {expected}")

    @property
    def class_name(self) -> str:
        """The name of the class, without its module."""
        return self.target.partition(":")[2]

    def as_dict(self) -> dict[str, Any]:
        """All fields as plain values, for JSON."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec(Spec):
    """An optimizer, of this library or any other.

    A class that is not a :class:`~optim_core.RuleOptimizer` says nothing of itself. By what its spec says of its needs,
    its state, its arguments and what it divides by, `minimize`, wrappers, `explain` and `compare` go.

    Args:
        state: the size of each state that it keeps with its default options: a key of
            :data:`optim_core.catalog.sizes.SIZES`, several of it (``"3 element"``), or ``"module:function"``, a
            function of the parameter's shape in a module of the pack that does not import torch (the first line of
            its docstring is shown). What is not stored in float32 says so: ``"element as uint8"``.
        constructors: names of class methods that construct it in another way.
        shortfall: why it does not learn what every optimizer must (90 % on the task ``digits`` after 10 epochs, at
            some lr of its range), one line; "" if it does. ``nox -s learns`` checks it.
        sparse: whether it takes sparse gradients, and updates the rows that they have.
        arguments: what the constructor of a plain class takes beside parameter groups and options: the argument's name,
            and a key of :data:`ARGUMENTS` that :func:`optim_core.create_optimizer` gives it. If the first argument of
            the constructor is among them, it takes the place of the parameters: ``AdamMini(model, lr=...)``.
        offers: what a plain class divides by, as ``"module:function"``, a function of its states and options in the
            words of :mod:`optim_core.rules`, by position and by keyword as in a rule; its result does not matter::

                def names(exp_avg_sq, *, betas, eps, step):
                    c2 = 1 - betas[1] ** step
                    root(second_moment(exp_avg_sq, c2), eps, c2)

            States are as they are after the step, and of the parameter's shape. So the wrappers ``softplus`` and
            ``stablewd`` go around the class.

    Example:
        >>> OptimizerSpec(
        ...     name="mini",
        ...     target="acme.mini:Mini",
        ...     summary="Adam with a second moment a block.",
        ...     license="MIT",
        ...     state={"m": "element", "v": "row"},
        ...     arguments={"model": "model"},
        ...     offers="acme.offers:mini",
        ... ).needs
        ()
    """

    kind: ClassVar[KindName] = "optimizer"
    _more_texts: ClassVar[tuple[str, ...]] = ("shortfall", "offers")
    _more_mappings: ClassVar[Mapping[str, str]] = {"state": _SIZES, "arguments": _SOURCES}
    _more_tuples: ClassVar[tuple[str, ...]] = ("constructors",)

    state: Mapping[str, str] = field(default_factory=dict, hash=False)
    constructors: tuple[str, ...] = ()
    shortfall: str = ""
    sparse: bool = False
    arguments: Mapping[str, str] = field(default_factory=dict, hash=False)
    offers: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_arguments(self.arguments)
        if self.offers and not is_target(self.offers):
            self._reject("offers", self.offers, "'module:function'")
        for name, size in self.state.items():
            if not is_size(size):
                expected = f"one of {', '.join(SIZES)}, '3 element' for three, or 'module:function'"
                self._reject(f"state[{name!r}]", size, expected)


@dataclass(frozen=True, kw_only=True)
class SchedulerSpec(Spec):
    """A learning-rate scheduler.

    Args:
        example: the options of a schedule of about 100 steps, as they would be written behind ``optimizer`` in a
            call; it may refer to ``optimizer`` and ``torch``. Empty if the defaults will do. `optim-core show` and the
            documentation draw it, tests build it.
        sets: the entry of a parameter group that it changes.
    """

    kind: ClassVar[KindName] = "scheduler"
    _more_texts: ClassVar[tuple[str, ...]] = ("example", "sets")

    example: str = ""
    sets: str = "lr"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _are_keywords(self.example):
            self._reject("example", self.example, "keyword arguments such as 'total_steps=100, min_lr=0.01'")
        if not self.sets.isidentifier():
            self._reject("sets", self.sets, "the name of a parameter group's entry, such as 'lr'")


@dataclass(frozen=True, kw_only=True)
class WrapperSpec(Spec):
    """A wrapper: an optimizer around another one.

    Args:
        base: what the constructor takes first: ``"optimizer"``, the one to go around; or ``"params_and_class"``, as
            SAM's first implementations do: parameters, and a class that it builds the optimizer from itself. Users call
            all wrappers alike, ``wrapper(optimizer, **options)``: such a class gets the groups of the optimizer, and a
            function in the place of the class that returns it.
        arguments: what a plain class takes beside its base and options; as for :class:`OptimizerSpec`.
        shortfall: why a plain base inside does not make a convex loss smaller, or a single number does not move, one
            line; "" if they do.

    Example:
        >>> sam = WrapperSpec(
        ...     name="their_sam",
        ...     target="acme.sam:SAM",
        ...     summary="Gradients from the highest point nearby.",
        ...     license="MIT",
        ...     needs=("closure", "gradients"),
        ...     base="params_and_class",
        ... )
        >>> sam.kind
        'wrapper'
    """

    kind: ClassVar[KindName] = "wrapper"
    _more_texts: ClassVar[tuple[str, ...]] = ("base", "shortfall")
    _more_mappings: ClassVar[Mapping[str, str]] = {"arguments": _SOURCES}

    base: BaseForm = "optimizer"
    arguments: Mapping[str, str] = field(default_factory=dict, hash=False)
    shortfall: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_arguments(self.arguments)
        if self.base not in get_args(BaseForm):
            self._reject("base", self.base, f"one of {', '.join(get_args(BaseForm))}")


@dataclass(frozen=True, kw_only=True)
class TransformSpec(WrapperSpec):
    """A transform that is used by its name, wherever a wrapper is: a :class:`~optim_core.rules.Transform` as target.

    The class is a frozen dataclass; its fields are the options.

    Example:
        >>> spec = TransformSpec(name="signed", target="acme.signed:Signed", summary="Signs alone.", license="MIT")
        >>> spec.kind
        'wrapper'
    """


@cache
def is_license(text: str) -> bool:
    """Return whether a text has the form of an SPDX expression; it may still name a licence that does not exist.

    Example:
        >>> [is_license(text) for text in ("Apache-2.0", "MIT OR (BSD-3-Clause AND ISC)", "free for all")]
        [True, True, False]
    """
    return _LICENSE.fullmatch(text) is not None and text.count("(") == text.count(")")


def _are_keywords(text: str) -> bool:
    try:
        call = ast.parse(f"call({text})", mode="eval").body
    except SyntaxError:
        return False
    return isinstance(call, ast.Call) and not call.args and all(keyword.arg for keyword in call.keywords)
