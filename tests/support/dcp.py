"""Training that is interrupted by a save and a load through torch.distributed.checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from support import loops
from support.kinds import Kind


def interrupted(kind: Kind, folder: Path, *, flatten: bool) -> tuple[nn.Module, nn.Module]:
    """Two models: trained without a break, and with one."""
    data = loops.batches(kind, 6)
    how = StateDictOptions(flatten_optimizer_state_dict=flatten)

    torch.manual_seed(0)
    whole = loops.model()
    optimizer: Any = kind.make(whole.named_parameters())
    loops.steps(kind, optimizer, whole, data[:3])
    values = {name: x.clone() for name, x in whole.state_dict().items()}
    dcp.save({"optimizer": get_optimizer_state_dict(whole, optimizer, options=how)}, checkpoint_id=folder, no_dist=True)
    loops.steps(kind, optimizer, whole, data[3:])

    torch.manual_seed(1)
    rest = loops.model()
    rest.load_state_dict(values)
    optimizer = kind.make(rest.named_parameters())
    loaded = {"optimizer": get_optimizer_state_dict(rest, optimizer, options=how)}
    rest.load_state_dict(values)  # torch takes a step with lr 0 to have states; decay by lr must not have moved it
    dcp.load(loaded, checkpoint_id=folder, no_dist=True)
    set_optimizer_state_dict(rest, optimizer, loaded["optimizer"], options=how)
    loops.steps(kind, optimizer, rest, data[3:])
    return whole, rest
