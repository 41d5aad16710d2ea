"""Decoded examples to a Dataset: split by content, ordered by content, counted."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from catdog_jax.data.fingerprint import fingerprint
from catdog_jax.data.splitting import PARTS, content_order, split_every_class
from catdog_jax.types import Dataset, FileNote, InputError, Split


class Examples(NamedTuple):
    """Examples in any order.

    Attributes:
      pixels: the pictures.
      kept: indices of those that are used.
      labels: 0..K-1.
      keys: content digests.
      ids: stable names.
      parts: 0 train, 1 valid, 2 test, or None where the source is not divided.
    """

    pixels: UInt8[np.ndarray, "N S S 3"]
    kept: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " N"]
    keys: Sequence[bytes]
    ids: Sequence[str]
    parts: Sequence[int | None]


def assemble(
    name: str,
    examples: Examples,
    fractions: tuple[float, float, float],
    class_names: Sequence[str],
    facts: Mapping[str, Any],
    files: Sequence[FileNote] = (),
) -> Dataset:
    """Build the data set.

    Args:
      name: of the data set.
      examples: N of them, of which `kept` are used.
      fractions: how the undivided ones are shared; a source with a test part has fractions for
        its train part only, (1 - valid, valid, 0).
      class_names: K names.
      facts: for the provenance.
      files: what happened to files.

    Raises:
      InputError: a part is left without some class.
    """
    kept = examples.kept
    labels = examples.labels[kept]
    keys = [examples.keys[i] for i in kept]
    ids = [examples.ids[i] for i in kept]
    part = np.array([-1 if examples.parts[i] is None else examples.parts[i] for i in kept])
    open_ = part <= 0 if fractions[2] == 0 else part < 0
    if fractions[:2] != (1.0, 0.0) and open_.any():
        where = np.flatnonzero(open_)
        part[where] = split_every_class(
            [keys[i] for i in where], labels[where], fractions, class_names
        )
    order = content_order(keys, labels, ids)
    splits: list[Split] = []
    for p, part_name in enumerate(PARTS):
        chosen = order[part[order] == p]
        present = set(labels[chosen].tolist())
        missing = [n for k, n in enumerate(class_names) if k not in present]
        if missing and (part_name != "valid" or present):
            raise InputError(
                f"data set {name!r}: no example of {missing[0]!r} in its {part_name} part; "
                "add some, or choose other --classes"
            )
        splits.append(
            Split(
                examples.pixels[kept[chosen]],
                labels[chosen].astype(np.int32),
                tuple(ids[i] for i in chosen),
            )
        )
    counts = {
        part_name: {n: int((split.labels == k).sum()) for k, n in enumerate(class_names)}
        for part_name, split in zip(PARTS, splits, strict=True)
    }
    provenance = {
        **facts,
        "image_size": int(examples.pixels.shape[1]),
        "fractions": list(fractions),
        "counts": counts,
        "identical_pictures": len(keys) - len(set(keys)),
        "fingerprint": fingerprint(*splits),
    }
    train, valid, test = splits
    return Dataset(name, train, valid, test, tuple(class_names), provenance, tuple(files))
