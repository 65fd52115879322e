"""Specs by family, for the manifest; no torch."""
