"""One question per file; `python -m experiments` lists them."""

import os

# Before JAX is loaded: its coordination service would warn of each setting that is used here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
