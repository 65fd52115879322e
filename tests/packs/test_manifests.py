"""What the installed first-party packs say of their methods, held against the classes."""

from __future__ import annotations

import inspect

import pytest

from optim_core.catalog import known
from optim_core.catalog.licenses import NONCOMMERCIAL, mentions
from optim_core.catalog.registry import Registry, load_class, registry

ENTRIES = [e for e in registry().entries if e.pack.name in known.packs()]
IDS = [e.full_name for e in ENTRIES]
OPTIMIZERS = [e.spec for e in ENTRIES if e.spec.kind == "optimizer"]


@pytest.mark.parametrize("entry", ENTRIES, ids=IDS)
def test_paper_and_licence(entry):
    assert entry.spec.paper is not None
    # A class of torch's is under torch's licence.
    own = not entry.spec.target.startswith("torch.")
    assert entry.spec.license == (entry.pack.license if own else entry.spec.code_license)
    assert (entry.pack.name == NONCOMMERCIAL) == mentions(entry.spec.license, NONCOMMERCIAL)
    assert bool(entry.spec.code) == bool(entry.spec.code_license)


@pytest.mark.parametrize("entry", ENTRIES, ids=IDS)
def test_the_class_is_there_and_documented(entry):
    found = load_class(entry.spec)
    assert found.__name__ == entry.spec.class_name
    assert inspect.getdoc(found)


@pytest.mark.parametrize("spec", OPTIMIZERS, ids=[s.name for s in OPTIMIZERS])
def test_constructors(spec):
    assert all(callable(getattr(load_class(spec), name)) for name in spec.constructors)


def test_no_pack_is_broken():
    assert Registry().failures == ()
