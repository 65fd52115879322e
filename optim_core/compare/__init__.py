"""`optim-core compare`: train a small model with each named optimizer and say which was best.

One module, one idea, in the order a comparison passes through them:

    contender  the words of the command line: `sgd,momentum=0.9+lookahead,k=5`
    task       what is trained, on what, judged how; `tasks/` holds the built-in ones
    build      the only door to the rest of optim_core: names become optimizers here
    plan       which runs there will be: contender x learning rate x seed
    train      one run
    results    what a run leaves behind, and results.json
    summary    from runs to the rows of the table
    console    progress bars and the table in the terminal
    plots, report   report.html
    command    the click command that ties them together

Python code uses the same pieces: `Task` describes a task of one's own (see `optim_core.compare.task`).
"""

from __future__ import annotations

from optim_core.compare.task import Task

__all__ = ["Task"]
