"""What travels between a Tinker client and a Tinker server, and what it means. No I/O."""
