"""Step times, memory and first-step latency of every method, beside torch's and pytorch-optimizer's.

``python benchmarks/run.py --help`` says how to run it; ``nox -s bench`` sets up what it needs.
"""
