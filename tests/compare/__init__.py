"""A package, so that its conftest.py and that of the folder above are two modules."""
