"""A problem is a model, data, a loss and a recipe."""
