"""The magics: each parses its line into plain values and calls; one file a family."""
