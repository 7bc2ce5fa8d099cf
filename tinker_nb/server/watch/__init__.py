"""Watching the server: what it logs and measures, and when it has been idle for too long."""
