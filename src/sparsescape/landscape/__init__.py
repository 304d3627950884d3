"""The loss between points and around them: curves, the search for them, and what they show."""
