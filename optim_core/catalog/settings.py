"""The environment variables of the library, and what in them cannot be meant."""

from __future__ import annotations

import os
from collections.abc import Iterator

from optim_core.catalog.discovery import pack_names_in
from optim_core.catalog.installed import Installed
from optim_core.catalog.licenses import ALLOW, DENY
from optim_core.catalog.packs import DISABLE, FIRST_PARTY, ONLY
from optim_core.catalog.preferences import PREFER, in_environment
from optim_core.names import did_you_mean, nearest, normalise
from optim_core.text import one_line

STRICT = "OPTIM_CORE_STRICT"
#: Those that engines read.
ENGINE, CACHE = "OPTIM_CORE_ENGINE", "OPTIM_CORE_CACHE"
#: The values of the first, as :mod:`optim_core.engines` knows them; this module imports no torch.
ENGINES = ("auto", "eager", "native", "triton")
_PREFIX = "OPTIM_CORE_"
VARIABLES = (ONLY, DISABLE, PREFER, STRICT, ALLOW, DENY, ENGINE, CACHE)


def notes(installed: Installed) -> Iterator[str]:
    """What the environment sets that may be a mistake, a line each: names that do not exist."""
    for name in sorted(os.environ):
        if name.startswith(_PREFIX) and name not in VARIABLES:
            # what they have in common would make every other name a near one
            near = nearest(name.removeprefix(_PREFIX), [known.removeprefix(_PREFIX) for known in VARIABLES])
            if near:
                yield f"{one_line(name)} is not a variable of optim-core. Did you mean '{_PREFIX}{near[0]}'?"
    names = [origin.name for origin in installed.origins]
    for variable in (ONLY, DISABLE):
        # Who switches off a pack of ours everywhere may do so where it is not installed.
        fine = {*map(normalise, names), *(map(normalise, FIRST_PARTY) if variable == DISABLE else ())}
        for name in pack_names_in(variable):
            if normalise(name) not in fine:
                yield f"{variable} names {name!r}, and no such pack is installed.{did_you_mean(name, names)}"
    yield from _vain_preferences(installed)
    engine = os.environ.get(ENGINE, "auto")
    if engine not in ENGINES:
        yield f"{ENGINE}={one_line(engine)} is not one of {', '.join(ENGINES)}.{did_you_mean(engine, ENGINES)}"
    strict = os.environ.get(STRICT, "")
    if strict not in ("", "0", "1"):
        yield f"{STRICT}={one_line(strict)} counts as 1: write 1 to have a broken pack raise, 0 to have it skipped"


def _vain_preferences(installed: Installed) -> Iterator[str]:
    full_names = [entry.full_name for entry in installed.entries]
    for preference in in_environment():
        pack, colon, plain = preference.rpartition(":")
        if not colon:
            meant = " or ".join(e.full_name for e in installed.claimants(plain)) or "pack:name"
            yield f"{PREFER} names {one_line(preference)!r}, which is of no pack: write {meant}"
        elif not installed.claimants(plain, pack=pack):
            near = did_you_mean(preference, full_names)
            yield f"{PREFER} names {one_line(preference)!r}, and no such method is installed.{near}"
