"""Which kind of stuck a point is: the facts, the rules, the verdict."""
