"""Data sources, one per file, each giving the same Dataset of arrays."""
