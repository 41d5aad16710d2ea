"""Programmed classifiers: constants that a person typed in, no data seen.

One family per file; each file registers itself in a RULES table.
"""
