"""Data sets and toy tasks for tutorials, tests and benchmarks."""
