"""The search for a path: curves trained for a goal, elastic bands, trials one after another."""
