"""Licence policy: which licences may be used, and the warning about non-commercial ones.

A policy denies some licences, or allows some and nothing else, by SPDX identifiers or the word ``noncommercial``.
It can be set in Python by :func:`policy` and in the environment by ``OPTIM_CORE_LICENSE_DENY`` and
``OPTIM_CORE_LICENSE_ALLOW`` (comma-separated). Every part of it holds at once: Python code cannot quietly undo what an
administrator has put into the environment. A licence that cannot be judged is not allowed: neither an identifier that
does not exist, nor several licences at once where ``license-expression`` is not there to tell them apart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from optim_core.catalog import spdx
from optim_core.catalog.specs import Spec, is_license
from optim_core.errors import LicenseNotAllowed, NonCommercialWarning, PolicyError, warn
from optim_core.names import did_you_mean, nearest, normalise

ALLOW, DENY = "OPTIM_CORE_LICENSE_ALLOW", "OPTIM_CORE_LICENSE_DENY"
#: The word that stands for every licence that rules out commercial use.
NONCOMMERCIAL = "noncommercial"

_NONCOMMERCIAL_ID = re.compile(r"(?:^|-)nc(?:-|$)|non-?commercial", re.IGNORECASE)


@dataclass(frozen=True)
class Rule:
    """One half of a policy.

    Attributes:
        allows: True if only its terms may be used, False if anything but its terms may.
        terms: SPDX expressions (single licences, if they are denied), or ``noncommercial``.
        source: its origin: an environment variable, a command-line option, or ``policy``.
    """

    allows: bool
    terms: tuple[str, ...]
    source: str

    def permits(self, expression: str) -> bool:
        """Return whether something under this licence may be used."""
        if self.allows and any(spdx.is_same(expression, term) for term in self.terms):
            return True
        try:
            return spdx.is_satisfied(expression, self._permits_license)
        except spdx.UndecidableError:
            return False

    def _permits_license(self, spellings: tuple[str, ...]) -> bool:
        if self.allows:
            return any(_offers(spelling, term) for spelling in spellings for term in self.terms)
        return spdx.is_known(spellings[0]) and not _is_denied(spellings, self.terms)

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
        PolicyError: a term is neither an SPDX expression nor ``noncommercial``, or one to deny is of several licences.

    Example:
        >>> policy(deny="noncommercial")
        >>> policy(allow=["Apache-2.0", "MIT", "BSD-3-Clause"])
        >>> policy()
    """
    global _policy  # noqa: PLW0603 - the one policy of the process
    allowing = (
        [Rule(allows=True, terms=terms(allow, "allow", allows=True), source="policy")] if allow is not None else []
    )
    deny_terms = terms(deny, "deny", allows=False)
    denying = [Rule(allows=False, terms=deny_terms, source="policy")] if deny_terms else []
    _policy = (*allowing, *denying)


def rules() -> tuple[Rule, ...]:
    """The rules in force: those of :func:`policy` and of the environment, each of which must permit."""
    from_environment = (
        Rule(allows=allows, terms=terms(os.environ.get(variable, ""), variable, allows=allows), source=variable)
        for variable, allows in ((ALLOW, True), (DENY, False))
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
    try:
        return not spdx.is_satisfied(expression, lambda spellings: not _is_denied(spellings, (term,)))
    except spdx.UndecidableError:
        return True


def remedy(rule: Rule, expression: str) -> str:
    """The advice that tells how to allow a licence that a rule does not permit."""
    if spdx.parser() is None and not (spdx.is_one_identifier(expression) and spdx.is_known(expression)):
        return f"To have it checked: {spdx.INSTALL}"
    if not rule.allows and spdx.is_one_identifier(expression) and not spdx.is_known(expression):
        return f"{expression!r} is not an SPDX licence, so nobody can tell; its authors should declare one"
    remaining = [*rule.terms, expression] if rule.allows else [t for t in rule.terms if not mentions(expression, t)]
    if rule.source == "policy":
        argument = f"{'allow' if rule.allows else 'deny'}={remaining}" if remaining else ""
        return f"To allow it: optim_core.licenses.policy({argument})"
    if not rule.source.isupper():
        return ""
    value = ",".join(remaining)
    shell = f'export {rule.source}="{value}"' if remaining else f"unset {rule.source}"
    return f'To allow it in the shell: {shell}; in Python: os.environ["{rule.source}"] = "{value}"'


def terms(text: str | Iterable[str], source: str, *, allows: bool) -> tuple[str, ...]:
    """The terms of a rule, from a comma-separated text or a list.

    Args:
        text: the terms.
        source: their origin, for the message.
        allows: True if they are allowed, False if they are denied.

    Raises:
        PolicyError: one is neither an SPDX expression nor ``noncommercial``, or one to deny is of several licences.
    """
    parts = text.split(",") if isinstance(text, str) else text
    return tuple(_term(part.strip(), source, allows=allows) for part in parts if part.strip())


def _term(text: str, source: str, *, allows: bool) -> str:
    if normalise(text) == NONCOMMERCIAL:
        return NONCOMMERCIAL
    parts = [part.strip() for part in re.split(r" (?:AND|OR) |[()]", text) if part.strip()]
    if not is_license(text) or nearest(text, [NONCOMMERCIAL]) or not all(map(spdx.is_known, parts)):
        raise PolicyError(_not_a_license(text, source))
    if not allows and len(parts) > 1:
        # Denied as a whole it would match nothing but itself, and each of its licences would pass alone.
        raise PolicyError(f"{source}: {text!r} is of several licences: deny each by itself, {', '.join(parts)}")
    return text


def _not_a_license(text: str, source: str) -> str:
    candidates = [NONCOMMERCIAL, *spdx.known_identifiers()]
    unsure = f"; other identifiers than common ones are known after {spdx.INSTALL}" if spdx.parser() is None else ""
    return (
        f"{source}: {text!r} is not an SPDX licence.{did_you_mean(text, candidates)} "
        f"Write for example 'Apache-2.0', or {NONCOMMERCIAL!r} for all licences that rule out commercial use{unsure}"
    )


def _offers(spelling: str, term: str) -> bool:
    """Whether a licence can be chosen by whoever may use only the term."""
    if term == NONCOMMERCIAL:
        return _NONCOMMERCIAL_ID.search(spelling) is not None
    return spdx.license_of(spelling).offers(spdx.license_of(term))


def _is_denied(spellings: tuple[str, ...], terms: Iterable[str]) -> bool:
    """Whether a licence is, or may become, one of the terms: a later version that may be chosen counts."""
    licenses = [spdx.license_of(spelling) for spelling in spellings]
    for term in terms:
        if term == NONCOMMERCIAL:
            if any(_NONCOMMERCIAL_ID.search(spelling) for spelling in spellings):
                return True
        else:
            denied = spdx.license_of(term)
            if any(own.offers(denied) or denied.offers(own) for own in licenses):
                return True
    return False
