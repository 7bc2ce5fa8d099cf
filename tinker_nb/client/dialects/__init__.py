"""How each family of servers is spoken to: one object per family, and how to tell them apart."""
