"""What the installed first-party packs say of their methods, held against the classes."""

from __future__ import annotations

import pytest

from optim_core.catalog import known
from optim_core.catalog.licenses import NONCOMMERCIAL, mentions
from optim_core.catalog.registry import Registry, registry

ENTRIES = [e for e in registry().entries if e.pack.name in known.packs()]
IDS = [e.full_name for e in ENTRIES]


@pytest.mark.parametrize("entry", ENTRIES, ids=IDS)
def test_paper_and_licence(entry):
    assert entry.spec.paper is not None or entry.spec.code
    # A class of torch's is under torch's licence.
    own = not entry.spec.target.startswith("torch.")
    assert entry.spec.license == (entry.pack.license if own else entry.spec.code_license)
    assert (entry.pack.name == NONCOMMERCIAL) == mentions(entry.spec.license, NONCOMMERCIAL)
    assert bool(entry.spec.code) == bool(entry.spec.code_license)


def test_no_pack_is_broken():
    assert Registry().failures == ()
