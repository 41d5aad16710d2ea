"""Photographs of one's own: class folders, or train/test folders of class folders."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from catdog_jax.data.assemble import Examples, assemble
from catdog_jax.data.cache import cached
from catdog_jax.data.decoding import Progress, check_memory, decode_many
from catdog_jax.data.folder_scan import Candidate, Scan, scan
from catdog_jax.data.pictures import PictureError, is_conversion
from catdog_jax.data.sniffing import EXTENSIONS
from catdog_jax.data.splitting import PARTS, split_fractions
from catdog_jax.types import Dataset, DatasetSpec, FileNote, InputError


def load(
    *,
    data_dir: str | None,
    classes: Sequence[str],
    image_size: int,
    download: bool = False,
    progress: Progress | None = None,
    valid: float = 0.0,
) -> Dataset:
    """Load the pictures of a folder.

    Without train and test folders the pictures are divided 80/10/10 by their content. With them
    they are used as given; `valid` comes from its own folder, or as a fraction of train.

    Args:
      data_dir: the folder.
      classes: class folders in label order; empty: all of them, sorted.
      image_size: pixels of a side; 0: 64.
      download: has no meaning here; the pictures are already there.
      progress: called with (done, total), once while reading and once while decoding.
      valid: fraction of train that becomes valid, 0..0.5.

    Returns:
      The data set; `files` has a row for each file that was not used as it is.

    Raises:
      InputError: no folder, fewer than two classes, a class without pictures, too few of a class.
    """
    if not data_dir:
        raise InputError("--dataset=folder needs --data_dir=FOLDER, a folder of class folders")
    root = Path(data_dir).expanduser()
    size = image_size or 64
    try:
        found = scan(root, tuple(classes), progress)
    except PermissionError as error:
        raise InputError(f"--data_dir={root}: {error.strerror}: {error.filename}") from None
    if valid and any(c.part == "valid" for c in found.candidates):
        raise InputError(f"valid={valid}: {root} has a valid folder of its own; leave it out")
    fractions = split_fractions(valid, found.divided)
    key = {
        "source": "folder",
        "files": [[c.path, c.part, c.label, c.key.hex()] for c in found.candidates],
        "notes": [list(note) for note in found.notes],
        "classes": found.class_names,
        "image_size": size,
        "fractions": fractions,
    }
    return cached(key, lambda: _build(root, found, size, fractions, progress))


def _build(
    root: Path,
    found: Scan,
    size: int,
    fractions: tuple[float, float, float],
    progress: Progress | None,
) -> Dataset:
    notes = list(found.notes)
    files = _without_repeats(found.candidates, found.class_names, notes)
    parts = {c.part for c in found.candidates} | ({"train", "test"} if found.divided else {""})
    _require_every_class(files, parts, found.class_names, root)
    check_memory(len(files), size)

    def read(i: int) -> bytes:
        return (root / files[i].path).read_bytes()

    pixels, outcome = decode_many(read, len(files), size, progress)
    good = []
    for i, (file, result) in enumerate(zip(files, outcome, strict=True)):
        if isinstance(result, PictureError):
            notes.append(FileNote(file.path, "skipped", str(result)))
            continue
        good.append(i)
        words = [*result, *_extension_note(file)]
        if words:
            action = "converted" if any(map(is_conversion, result)) else "reported"
            notes.append(FileNote(file.path, action, "; ".join(words)))
    _require_every_class([files[i] for i in good], parts, found.class_names, root)
    examples = Examples(
        pixels=pixels,
        kept=np.array(good, dtype=np.int64),
        labels=np.array([file.label for file in files], dtype=np.int32),
        keys=[file.key for file in files],
        ids=[file.path for file in files],
        parts=[PARTS.index(file.part) if file.part else None for file in files],
    )
    facts = {
        "source": "folder",
        "layout": "train/test folders" if found.divided else "class folders",
        "files_noted": len(notes),
    }
    return assemble("folder", examples, fractions, found.class_names, facts, sorted(notes))


def _without_repeats(
    candidates: Iterable[Candidate], class_names: Sequence[str], notes: list[FileNote]
) -> list[Candidate]:
    """Keep one file of each content, none where the content has two labels."""
    groups: dict[bytes, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        groups[candidate.key].append(candidate)
    kept = []
    for group in groups.values():
        if len({c.label for c in group}) > 1:
            for c in group:
                other = next(o for o in group if o.label != c.label)
                reason = (
                    f"the same picture as {other.path}, so it is labelled both "
                    f"{class_names[c.label]} and {class_names[other.label]}; neither is used"
                )
                notes.append(FileNote(c.path, "skipped", reason))
            continue
        # What is in test stays there: what was trained on must not be tested on.
        first = max(group, key=lambda c: PARTS.index(c.part) if c.part else 0)
        kept.append(first)
        for c in group:
            if c is not first:
                reason = f"the same picture as {first.path}"
                if c.part != first.part:
                    reason += f"; kept in {first.part}, left out of {c.part}"
                else:
                    reason += "; one is kept"
                notes.append(FileNote(c.path, "skipped", reason))
    return sorted(kept, key=lambda c: c.path)


def _require_every_class(
    files: Sequence[Candidate], parts: Iterable[str], class_names: Sequence[str], root: Path
) -> None:
    for part in sorted(parts):
        there = {file.label for file in files if file.part == part}
        for label, name in enumerate(class_names):
            if label not in there:
                where = f"{part}/{name}" if part else name
                raise InputError(
                    f"--data_dir={root}: no picture of {where!r} can be used; add pictures, remove "
                    "the folder, or choose others with --classes=a,b"
                )


def _extension_note(file: Candidate) -> list[str]:
    suffix = PurePosixPath(file.path).suffix.lower()
    if suffix in EXTENSIONS[file.kind]:
        return []
    name = f"named {suffix}" if suffix else "named without an extension"
    return [f"a {file.kind} {name}; read as {file.kind}"]


DATASETS = {
    "folder": DatasetSpec(
        load=load,
        summary="pictures of your own: class folders, or train/test folders of them (--data_dir)",
    )
}
