"""Saved results to matplotlib figures; nothing here trains or reads a disk."""
