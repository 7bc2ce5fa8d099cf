"""Checkpoints onto this machine: fetching, resuming, checking, unpacking."""
