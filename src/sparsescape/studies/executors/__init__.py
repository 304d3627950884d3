"""Who does the stages of a graph: processes of this machine, a Ray cluster, ranks together."""
