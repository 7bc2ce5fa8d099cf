"""What the server keeps on disk: tables in SQLite, checkpoint directories, and its key."""
