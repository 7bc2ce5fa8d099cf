"""The client of a server's records: runs, checkpoints, sessions, usage."""
