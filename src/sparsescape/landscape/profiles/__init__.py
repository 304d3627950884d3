"""The loss along a curve, and its measures."""
