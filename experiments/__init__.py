"""One question per file; `python -m experiments` lists them."""
