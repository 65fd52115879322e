"""Licence policy: which licences may be used, and the warning about non-commercial ones.

A policy denies some licences, or allows some and nothing else, by SPDX identifiers or the word ``noncommercial``.
It can be set in Python by :func:`policy` and in the environment by ``OPTIM_CORE_LICENSE_DENY`` and
``OPTIM_CORE_LICENSE_ALLOW`` (comma-separated). Every part of it holds at once: Python code cannot quietly undo what an
administrator has put into the environment. A licence that cannot be judged is not allowed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from optim_core.catalog.specs import Spec, is_license
from optim_core.errors import LicenseNotAllowed, NonCommercialWarning, PolicyError, warn
from optim_core.names import did_you_mean, nearest, normalise

ALLOW, DENY = "OPTIM_CORE_LICENSE_ALLOW", "OPTIM_CORE_LICENSE_DENY"
#: The word that stands for every licence that rules out commercial use.
NONCOMMERCIAL = "noncommercial"

_NONCOMMERCIAL_ID = re.compile(r"(?:^|-)nc(?:-|$)|non-?commercial", re.IGNORECASE)
_PLAIN_ID = re.compile(r"[^\s()]+")


@dataclass(frozen=True)
class Rule:
    """One half of a policy.

    Attributes:
        allows: True if only its terms may be used, False if anything but its terms may.
        terms: SPDX expressions, or ``noncommercial``.
        source: its origin: an environment variable, a command-line option, or ``policy``.
    """

    allows: bool
    terms: tuple[str, ...]
    source: str

    def permits(self, expression: str) -> bool:
        """Return whether something under this licence may be used."""
        if any(expression.casefold() == term.casefold() for term in self.terms):
            return self.allows
        try:
            return _is_satisfied(expression, self._permits_id)
        except _UndecidableError:
            return False

    def _permits_id(self, spellings: tuple[str, ...]) -> bool:
        in_terms = any(_matches(spelling, term) for spelling in spellings for term in self.terms)
        return in_terms if self.allows else not in_terms

    def __str__(self) -> str:
        if self.source == "policy":
            return f"policy({'allow' if self.allows else 'deny'}={list(self.terms)})"
        return f"{self.source}={','.join(self.terms)}"


_policy: tuple[Rule, ...] = ()
_warned: set[str] = set()


def policy(*, allow: str | Iterable[str] | None = None, deny: str | Iterable[str] = ()) -> None:
    """Set the licence policy of this process; ``policy()`` without arguments lifts it.

    Args:
        allow: if given, nothing else may be used.
        deny: what may not be used.

    Raises:
        PolicyError: a term is neither an SPDX expression nor ``noncommercial``.

    Example:
        >>> policy(deny="noncommercial")
        >>> policy(allow=["Apache-2.0", "MIT", "BSD-3-Clause"])
        >>> policy()
    """
    global _policy  # noqa: PLW0603 - the one policy of the process
    allowing = [Rule(allows=True, terms=terms(allow, "allow"), source="policy")] if allow is not None else []
    deny_terms = terms(deny, "deny")
    denying = [Rule(allows=False, terms=deny_terms, source="policy")] if deny_terms else []
    _policy = (*allowing, *denying)


def rules() -> tuple[Rule, ...]:
    """The rules in force: those of :func:`policy` and of the environment, each of which must permit."""
    from_environment = (
        Rule(allows=variable == ALLOW, terms=terms(os.environ.get(variable, ""), variable), source=variable)
        for variable in (ALLOW, DENY)
    )
    return (*_policy, *(rule for rule in from_environment if rule.terms))


def check(spec: Spec, origin: str) -> None:
    """Refuse a method that the policy does not allow; warn, once per process, of one that is non-commercial.

    Args:
        spec: of the method that is about to be used.
        origin: the distribution or package that brings it, for the message.

    Raises:
        LicenseNotAllowed: a rule does not permit it. The text says how to allow it.

    Warns:
        NonCommercialWarning: its licence rules out commercial use, and no rule allows it explicitly.
    """
    in_force = rules()
    what = f"{spec.name!r} ({origin}) is {spec.license}"
    for rule in in_force:
        if not rule.permits(spec.license):
            raise LicenseNotAllowed(f"{what}, which your policy does not allow: {rule}. {remedy(rule, spec.license)}")
    if mentions(spec.license, NONCOMMERCIAL) and spec.target not in _warned and not any(r.allows for r in in_force):
        _warned.add(spec.target)
        warn(
            f"{what}: not for commercial use. To forbid such methods: export {DENY}={NONCOMMERCIAL}",
            NonCommercialWarning,
        )


def mentions(expression: str, term: str) -> bool:
    """Return whether using something under this licence means accepting a licence of this name or category.

    Example:
        >>> [mentions(text, "noncommercial") for text in ("CC-BY-NC-SA-4.0", "MIT")]
        [True, False]
    """
    return not Rule(allows=False, terms=(term,), source="").permits(expression)


def remedy(rule: Rule, expression: str) -> str:
    """The advice that tells how to allow a licence that a rule does not permit."""
    if _PLAIN_ID.fullmatch(expression) is None and _spdx() is None:
        return 'To have its parts checked: pip install "optim-core[licenses]"'
    remaining = [*rule.terms, expression] if rule.allows else [t for t in rule.terms if not mentions(expression, t)]
    if rule.source == "policy":
        argument = f"{'allow' if rule.allows else 'deny'}={remaining}" if remaining else ""
        return f"To allow it: optim_core.licenses.policy({argument})"
    if not rule.source.isupper():
        return ""
    value = ",".join(remaining)
    shell = f'export {rule.source}="{value}"' if remaining else f"unset {rule.source}"
    return f'To allow it in the shell: {shell}; in Python: os.environ["{rule.source}"] = "{value}"'


def terms(text: str | Iterable[str], source: str) -> tuple[str, ...]:
    """The terms of a rule, from a comma-separated text or a list.

    Raises:
        PolicyError: one is neither an SPDX expression nor ``noncommercial``.
    """
    parts = text.split(",") if isinstance(text, str) else text
    return tuple(_term(part.strip(), source) for part in parts if part.strip())


@cache
def _term(text: str, source: str) -> str:
    if normalise(text) == NONCOMMERCIAL:
        return NONCOMMERCIAL
    spdx = _spdx()
    candidates: Iterable[str] = [NONCOMMERCIAL]
    good = is_license(text) and not nearest(text, candidates)
    if good and spdx is not None and not text.startswith(("LicenseRef-", "DocumentRef-")):
        good = not spdx.unknown_license_keys(text)
        candidates = spdx.known_symbols
    if good:
        return text
    raise PolicyError(
        f"{source}: {text!r} is not an SPDX licence.{did_you_mean(text, candidates)} "
        f"Write for example 'Apache-2.0', or {NONCOMMERCIAL!r} for all licences that rule out commercial use"
    )


def _matches(identifier: str, term: str) -> bool:
    if term == NONCOMMERCIAL:
        return _NONCOMMERCIAL_ID.search(identifier) is not None
    return identifier.casefold() == term.casefold()


class _UndecidableError(Exception):
    """An expression cannot be parsed, or no parser is installed."""


def _is_satisfied(expression: str, permits: Callable[[tuple[str, ...]], bool]) -> bool:
    """Return whether an expression is satisfied.

    Args:
        expression: an SPDX expression.
        permits: judges one licence in it by its spellings: alone, or also with its exception.
    """
    if _PLAIN_ID.fullmatch(expression):
        return permits((expression,))
    spdx = _spdx() if expression else None
    if spdx is None:
        raise _UndecidableError(expression)
    import license_expression  # type: ignore[import-untyped]

    def is_satisfied(node: Any) -> bool:
        if isinstance(node, license_expression.LicenseWithExceptionSymbol):
            return permits((node.license_symbol.key, f"{node.license_symbol.key} WITH {node.exception_symbol.key}"))
        if isinstance(node, license_expression.LicenseSymbol):
            return permits((node.key,))
        combine = any if isinstance(node, spdx.OR) else all
        return combine(is_satisfied(argument) for argument in node.args)

    try:
        return is_satisfied(spdx.parse(expression))
    except license_expression.ExpressionError as cause:
        raise _UndecidableError(expression) from cause


@cache
def _spdx() -> Any:
    """The list and parser of SPDX licences, or None where ``license-expression`` is not installed."""
    try:
        from license_expression import get_spdx_licensing
    except ImportError:
        return None
    return get_spdx_licensing()
