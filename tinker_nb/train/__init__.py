"""Plain async training loops over the client; no notebook in them."""
