"""What experiments share: flags, the run from config to results, progress, tables."""
