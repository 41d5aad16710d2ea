"""Numbers about a population, from arrays to arrays."""
