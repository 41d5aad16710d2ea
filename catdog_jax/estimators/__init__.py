"""Weights computed from the data in one step; each file registers itself in an ESTIMATORS table."""
