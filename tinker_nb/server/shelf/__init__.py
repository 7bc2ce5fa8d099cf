"""Checkpoints on the shelf: described, copied, given out by links, and thrown away in time."""
