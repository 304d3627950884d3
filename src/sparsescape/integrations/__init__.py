"""Sparsifiers in the training frameworks of others; each module needs its framework installed."""
