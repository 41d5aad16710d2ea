"""From decoded pictures to a Dataset: which classes, which split, which order, what digest.

An example's split is a function of its own content, never of order.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int8, UInt8

from catdog_jax.registry import unknown
from catdog_jax.types import Dataset, FileNote, InputError, Split

SPLITS = ("train", "valid", "test")
CAT_DOG = ("cat", "dog")


class Example(NamedTuple):
    """One picture; in the order of content, so that no file or record order is left.

    Attributes:
      key: digest of its content.
      label: 0..K-1.
      id: a stable name.
      split: of SPLITS, or '' where the source is not divided.
    """

    key: bytes
    label: int
    id: str
    split: str


def assemble(
    name: str,
    pixels: UInt8[np.ndarray, "N S S 3"],
    examples: Sequence[Example],
    fractions: tuple[float, float, float],
    class_names: Sequence[str],
    provenance: Mapping[str, Any],
    files: Sequence[FileNote],
) -> Dataset:
    """Build a data set of decoded pictures: split by content, ordered by content, counted.

    Args:
      name: of the data set.
      pixels: the pictures.
      examples: N of them.
      fractions: how the undivided ones are shared; a source with a test split has fractions for
        its train split only, (1 - valid, valid, 0).
      class_names: K names.
      provenance: what the source says of itself.
      files: what happened to files.

    Raises:
      InputError: a split is left without some class.
    """
    keys = np.array([example.key for example in examples], object)
    labels = np.array([example.label for example in examples], np.int32)
    where = np.array([SPLITS.index(example.split or "train") for example in examples], int)
    shared = np.flatnonzero(where == 0)
    where[shared] = split_every_class(keys[shared].tolist(), labels[shared], fractions, class_names)
    order = np.array(sorted(range(len(examples)), key=examples.__getitem__), int)
    splits, counts = [], {}
    for number, split in enumerate(SPLITS):
        chosen = order[where[order] == number]
        count = np.bincount(labels[chosen], minlength=len(class_names)).tolist()
        if 0 in count and (split != "valid" or any(count)):
            raise InputError(
                f"data set {name!r}: no example of {class_names[count.index(0)]!r} in its {split} "
                "part; add some, or choose other --classes"
            )
        counts[split] = dict(zip(class_names, count, strict=True))
        splits.append(Split(pixels[chosen], labels[chosen], tuple(examples[i].id for i in chosen)))
    provenance = {
        **provenance,
        "image_size": pixels.shape[1],
        "fractions": list(fractions),
        "counts": counts,
        "identical_pictures": len(keys) - len(set(keys)),
        "fingerprint": fingerprint(*splits),
    }
    train, valid, test = splits
    return Dataset(name, train, valid, test, tuple(class_names), provenance, tuple(files))


def check_cat_dog(classes: Sequence[str]) -> None:
    """Check the classes asked of a source that has only cat and dog.

    Raises:
      InputError: others, or another order.
    """
    if tuple(classes) not in ((), CAT_DOG):
        raise InputError(
            f"--classes={','.join(classes)}: this data set has cat,dog in this order; give those, "
            "or leave --classes out"
        )


def generated(
    name: str,
    generate: Callable[..., tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]],
    first: Mapping[str, int],
    counts: Mapping[str, int],
    settings: Mapping[str, Any],
    vocabulary: tuple[str, ...] = (),
) -> Dataset:
    """Build a data set of numbered examples that a formula makes, cats 0 and dogs 1.

    Args:
      name: of the data set.
      generate: (number of examples, first=number of the first) -> inputs, labels, factors.
      first: where the numbers of train, valid and test begin.
      counts: how many examples each of them has.
      settings: what else the examples depend on.
      vocabulary: see `Dataset`.
    """

    def split(part: str) -> Split:
        inputs, labels, factors = generate(counts[part], first=first[part])
        ids = tuple(f"{part}/{i:07d}" for i in range(counts[part]))
        return Split(inputs, labels, ids, factors)

    train, valid, test = map(split, SPLITS)
    provenance = {"source": name, **settings, **{f"num_{part}": n for part, n in counts.items()}}
    provenance["fingerprint"] = fingerprint(train, valid, test)
    return Dataset(name, train, valid, test, CAT_DOG, provenance, vocabulary=vocabulary)


def choose_classes(
    requested: Sequence[str], found: Sequence[str], where: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the requested classes among those of a source.

    A name matches exactly, or else in any letter case where that leaves one.

    Args:
      requested: names as typed, in label order; empty: cat and dog, or both classes of a pair.
      found: names of the source.
      where: the source, for messages.

    Returns:
      The requested names, and the source's spelling of each.

    Raises:
      InputError: fewer than two, one given twice, or one that is not there.
    """
    plain = [_plain(name) for name in found]
    if not requested and plain.count("cat") == plain.count("dog") == 1:
        requested = CAT_DOG
    requested = requested or (found if len(found) == 2 else ())
    if len(requested) < 2:
        listed = ", ".join(found[:40]) + (", …" if len(found) > 40 else "")
        raise InputError(
            f"{where} has {len(found)} classes ({listed or 'none'}); choose at least two with "
            "--classes=a,b (of pictures of your own each is a folder, like cat/ and dog/)"
        )
    chosen: list[str] = []
    for name in requested:
        alike = [f for f in found if f == name] or [f for f in found if _plain(f) == _plain(name)]
        if len(alike) != 1:
            raise unknown(f"class of {where}:", name, found, "choose with --classes=a,b")
        if alike[0] in chosen:
            raise InputError(f"--classes={','.join(requested)}: {alike[0]!r} is given twice")
        chosen += alike
    return tuple(requested), tuple(chosen)


def _plain(name: str) -> str:
    """Return a name without letter case; a keyboard composes an umlaut, some disks do not."""
    return unicodedata.normalize("NFC", name).casefold()


def content_key(content: bytes) -> bytes:
    """Digest the encoded bytes of one example: SHA-256, 32 bytes."""
    return hashlib.sha256(content).digest()


def split_every_class(
    keys: Sequence[bytes],
    labels: Int[np.ndarray, " N"],
    fractions: tuple[float, float, float],
    class_names: Sequence[str],
) -> Int8[np.ndarray, " N"]:
    """Assign each example to a split by a hash of its own key, and leave no class out of a split.

    An example's split depends on nothing but its key: not on order, nor on what else is there.
    Equal keys get equal splits. Only where a class is so small that a split got none of it, the
    examples whose hash is nearest to that split move there.

    Args:
      keys: N content digests.
      labels: 0..K-1.
      fractions: expected shares of train, valid and test, each ≥ 0, sum 1; a split with fraction 0
        stays empty.
      class_names: K names, for messages.

    Returns:
      0 train, 1 valid, 2 test.

    Raises:
      InputError: a class has fewer different examples than there are splits.
    """
    hashes = np.array([_uniform(key) for key in keys])
    wanted = np.flatnonzero(fractions)
    edges = np.cumsum([0.0, *fractions])[wanted]
    found = np.zeros(len(keys), np.int8)
    for label, name in enumerate(class_names):
        members = labels == label
        values = np.unique(hashes[members])
        if len(values) < len(wanted):
            raise InputError(
                f"class {name!r} has only {len(values)} different readable pictures; add some: "
                f"{', '.join(SPLITS[p] for p in wanted)} need one each at least"
            )
        # Splits are intervals of the hash: each begins at its edge, or where none stays empty.
        starts, end = np.searchsorted(values, edges), len(values)
        for p in reversed(range(len(wanted))):
            starts[p] = end = min(max(starts[p], p), end - 1)
        found[members] = wanted[np.searchsorted(values[starts], hashes[members], "right") - 1]
    return found


def split_fractions(
    valid: float, splits: Collection[str], where: str
) -> tuple[float, float, float]:
    """Choose the shares of the examples that are to be divided.

    Args:
      valid: the share of valid, 0..0.5.
      splits: that the source has, of SPLITS; '' among them where it is not divided.
      where: the source, for messages.

    Raises:
      InputError: `valid` is out of range, or the source has valid examples of its own.
    """
    if not 0.0 <= valid <= 0.5:
        raise InputError(f"valid={valid} is not a fraction from 0 to 0.5")
    if valid and "valid" in splits:
        raise InputError(f"valid={valid}: {where} has a valid part of its own; leave it out")
    if "" not in splits:
        return 1.0 - valid, valid, 0.0
    valid = valid or 0.1
    return 0.9 - valid, valid, 0.1


def _uniform(key: bytes) -> float:
    digest = hashlib.blake2b(key, digest_size=8, person=b"catdog split").digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def fingerprint(*splits: Split) -> str:
    """Digest the shapes, dtypes and bytes of images and labels.

    Args:
      splits: in a fixed order, usually train, valid, test.

    Returns:
      SHA-256 as 64 hex digits; equal exactly when all arrays are equal.
    """
    digest = hashlib.sha256()
    for split in splits:
        for array in (split.inputs, split.labels):
            digest.update(f"{array.shape}{array.dtype.str}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
