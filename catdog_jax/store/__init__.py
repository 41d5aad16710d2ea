"""The run folder: the only place that writes results."""
