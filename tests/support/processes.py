"""Taking part in a group of processes, and telling what was found."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist


def take_part(rank: str, processes: str, file: str, find: Callable[[], Any], timeout: timedelta | None = None) -> None:
    """Join a group of gloo, run ``find`` in it, have rank 0 print its result as JSON, and exit.

    Args:
        rank, processes: as the command line has them; a single process needs no group.
        file: where they meet.
        find: what this process does.
        timeout: of whatever they do together; None for torch's own.
    """
    torch.set_num_threads(1)
    grouped = int(processes) > 1
    if grouped:
        where = {"init_method": f"file://{file}", "rank": int(rank), "world_size": int(processes)}
        dist.init_process_group("gloo", timeout=timeout, **where)  # type: ignore[arg-type]
    found = find()
    if rank == "0":
        sys.stdout.write(json.dumps(found) + "\n")
    if grouped:
        dist.barrier()  # who leaves while the other still talks takes it along
        dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # threads of torch.distributed outlive the group now and then, and abort an orderly exit
