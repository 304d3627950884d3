"""Permutation alignment: relabelling one network's units to bring it near another."""
