"""A study is a graph of stages, each done once and kept in a store."""
