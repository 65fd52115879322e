"""Specs of the pack's schedulers, by family; no torch."""
