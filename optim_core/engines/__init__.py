"""What runs a graph: eager (torch operations), native (C), Triton. Private to the core."""
