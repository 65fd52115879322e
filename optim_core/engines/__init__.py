"""The engines, which run graphs: eager (torch operations), native (C), Triton. Private to the core."""
