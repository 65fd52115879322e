"""`optim-core compare`: train a small model with each named optimizer and say which was best.

One module, one idea, in the order in which a comparison passes through them:

    contender       the texts on the command line: `sgd,momentum=0.9+lookahead,k=5`
    task            a model, its data, its loss, its score; `tasks/` has the built-in ones, `task_loading` finds one
    build           the only door to the rest of optim_core: names become optimizers here
    plan            the runs: contender x learning rate x seed
    rehearsal       the task, tried once before the first run
    train           one run
    results         the record of a run, and results.json
    summary         from runs to the rows of the table
    cells           from rows to the texts of the table
    console         progress bars and the table in the terminal
    plots, report   report.html
    runner          a comparison from its settings to its files
    command         the click command

Python code uses the same pieces: `Task` describes a task of one's own (see `optim_core.compare.task`).
"""

from __future__ import annotations

from optim_core.compare.task import Task

__all__ = ["Task"]
