"""What a stage computes: one function for each kind, from its settings and inputs to metrics."""
