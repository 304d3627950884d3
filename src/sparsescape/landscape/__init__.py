"""The loss between two points: curves, their search, and what they show."""
