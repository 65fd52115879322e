"""Specs by family; no torch."""
