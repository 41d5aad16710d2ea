"""Data sources, one per file, each giving the same Dataset of arrays."""

from catdog_jax.data.assemble import fingerprint
from catdog_jax.data.load import dataset_spec, load_dataset
from catdog_jax.data.pictures import decode

__all__ = ["dataset_spec", "decode", "fingerprint", "load_dataset"]
