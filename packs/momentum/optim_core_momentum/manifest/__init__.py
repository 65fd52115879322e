"""The specs of the pack by family; no torch."""
