"""Who may ask, and how much: everything that is refused before a request is looked into."""
