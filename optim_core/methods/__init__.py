"""A method's declarations and one step of it."""

from optim_core.engines.sharded import full_tensor, is_sharded, placed_like
from optim_core.engines.tensors import as_pairs, compute_dtype, real, total_dtype
from optim_core.methods.blocks import blocks_in, blocks_of, in_blocks
from optim_core.methods.composition import Composition
from optim_core.methods.constructor import bind, declare
from optim_core.methods.declarations import (
    REQUIRED,
    Extra,
    Hyper,
    State,
    argument,
    decoupled,
    extra,
    hyper,
    l2,
    state,
)
from optim_core.methods.formula import Formula, ParameterSet
from optim_core.methods.method import Method
from optim_core.methods.part import Part, around
from optim_core.methods.reuse import Column, Roster, same_objects
from optim_core.methods.states import memory_dtype, states_of_blocks, store_whole, tensors_of

__all__ = [
    "REQUIRED",
    "Column",
    "Composition",
    "Extra",
    "Formula",
    "Hyper",
    "Method",
    "ParameterSet",
    "Part",
    "Roster",
    "State",
    "argument",
    "around",
    "as_pairs",
    "bind",
    "blocks_in",
    "blocks_of",
    "compute_dtype",
    "declare",
    "decoupled",
    "extra",
    "full_tensor",
    "hyper",
    "in_blocks",
    "is_sharded",
    "l2",
    "memory_dtype",
    "placed_like",
    "real",
    "same_objects",
    "state",
    "states_of_blocks",
    "store_whole",
    "tensors_of",
    "total_dtype",
]
