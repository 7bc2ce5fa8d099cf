"""Measurements of the whole product, side by side in one run: ``python -m benchmarks``."""
