"""Formulas, one family per file; each file registers itself in a MODELS table."""
