"""The parts of ``python -m benchmarks.server``: what is measured, beside what, and the verdicts."""
