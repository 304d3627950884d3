"""How many extra dimensions a path needs to get out, and which."""
