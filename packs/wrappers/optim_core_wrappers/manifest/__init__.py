"""Specs of the pack's wrappers, by family; no torch."""
