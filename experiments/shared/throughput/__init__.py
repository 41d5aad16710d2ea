"""The benchmark behind `python -m experiments.throughput`: cells, workers, checks, tables."""
