"""The specs of methods that form families; `pack.py` puts them together. No torch."""
