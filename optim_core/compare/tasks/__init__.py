"""The built-in tasks, which need no download: one module per task, with a function that returns it."""
