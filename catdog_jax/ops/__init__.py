"""The few array operations that XLA does badly when vmapped or looped, each with its reason."""
