"""Recovery with unknown gates: the sequential search over networks."""
