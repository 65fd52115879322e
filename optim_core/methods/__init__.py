"""A method's declarations and one step of it."""

from optim_core.engines.sharded import full_tensor, is_sharded, placed_like
from optim_core.engines.tensors import compute_dtype, real, total_dtype
from optim_core.methods.declarations import Extra, Hyper, State, decoupled, extra, hyper, l2, required, setting, state
from optim_core.methods.formula import Formula, ParameterSet
from optim_core.methods.reuse import Column, Roster, same_objects

__all__ = [
    "Column",
    "Extra",
    "Formula",
    "Hyper",
    "ParameterSet",
    "Roster",
    "State",
    "compute_dtype",
    "decoupled",
    "extra",
    "full_tensor",
    "hyper",
    "is_sharded",
    "l2",
    "placed_like",
    "real",
    "required",
    "same_objects",
    "setting",
    "state",
    "total_dtype",
]
