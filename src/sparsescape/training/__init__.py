"""Training anything: a network, or a path between two of them."""
