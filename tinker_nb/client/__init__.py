"""The client: talks to any Tinker-compatible server, async first, with blocking twins."""
