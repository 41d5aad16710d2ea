"""Finds the picture files of a folder data set, and explains every other file."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catdog_jax.data.class_names import choose_classes
from catdog_jax.data.decoding import Progress, run_threads
from catdog_jax.data.sniffing import EXTENSIONS, not_a_picture, picture_format
from catdog_jax.data.splitting import content_key
from catdog_jax.types import FileNote, InputError

PART_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid",
              "test": "test"}  # fmt: skip
_SUFFIXES = tuple(suffix for group in EXTENSIONS.values() for suffix in group)


@dataclass(frozen=True)
class Candidate:
    """A file that may become an example.

    Attributes:
      path: relative to the data folder, with forward slashes.
      part: 'train', 'valid', 'test', or '' where the folder is not divided.
      label: index of its class.
      key: digest of its content, b'' where it could not be read.
      kind: its format, told from the content; '' where it is no picture.
    """

    path: str
    part: str
    label: int
    key: bytes = b""
    kind: str = ""


@dataclass
class Scan:
    """What a folder holds.

    Attributes:
      class_names: in label order.
      divided: whether there are train and test folders.
      candidates: files with a picture's content, sorted by path.
      notes: everything else, explained.
    """

    class_names: tuple[str, ...]
    divided: bool
    candidates: list[Candidate] = field(default_factory=list)
    notes: list[FileNote] = field(default_factory=list)


def scan(root: Path, classes: Sequence[str], progress: Progress | None = None) -> Scan:
    """List and read every file under a folder.

    Args:
      root: holds class folders, or train/test (and valid) folders of class folders.
      classes: names in label order; empty: every class folder, sorted.
      progress: called with (files read, files).

    Raises:
      InputError: the folder is missing, empty, or has no two classes.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"--data_dir={root} {what}; give a folder that holds class folders")
    top = _folders(root)
    parts = {PART_NAMES[name.casefold()]: name for name in top if name.casefold() in PART_NAMES}
    divided = "train" in parts or "test" in parts
    if divided and not {"train", "test"} <= set(parts):
        there, missing = ("train", "test") if "train" in parts else ("test", "train")
        raise InputError(
            f"--data_dir={root} has a {there!r} folder but no {missing!r} folder; add it, or give "
            f"--data_dir={root / parts[there]} to have its pictures divided 80/10/10"
        )
    roots = sorted((name, part) for part, name in parts.items()) if divided else [("", "")]
    found = sorted({name for folder, _ in roots for name in _folders(root / folder)})
    if len(found) < 2:
        raise InputError(
            f"--data_dir={root} holds {len(found)} class folders"
            f"{f' ({found[0]})' if found else ''}; put the pictures into at least two, like cat/ "
            "and dog/"
        )
    chosen = choose_classes(classes, found, str(root)) if classes else tuple(found)
    result = Scan(chosen, divided)
    files: list[Candidate] = []
    for folder, part in roots:
        _list_part(root, folder, part, result, files)
    if divided:
        _explain_top(root, {name for name, _ in roots}, "not train, valid or test", result.notes)
    _read_all(root, files, result, progress)
    return result


def _list_part(root: Path, folder: str, part: str, result: Scan, files: list[Candidate]) -> None:
    base = root / folder
    present = [name for name in _folders(base) if name in result.class_names]
    for name in present:
        label = result.class_names.index(name)
        for path, note in _walk(base / name):
            relative = path.relative_to(root).as_posix()
            if note:
                result.notes.append(FileNote(relative, "skipped", note))
            else:
                files.append(Candidate(relative, part, label))
    _explain_top(base, set(present), "not one of --classes", result.notes, root)


def _explain_top(
    base: Path, used: set[str], reason: str, notes: list[FileNote], root: Path | None = None
) -> None:
    """Explain what lies beside the folders that are used; a folder gets one line."""
    for entry in sorted(base.iterdir()):
        if entry.name in used:
            continue
        relative = entry.relative_to(root or base).as_posix()
        if entry.name.startswith("."):
            why = "hidden"
        elif entry.is_dir():
            why = reason
        else:
            why = "not inside a class folder"
        notes.append(FileNote(relative, "skipped", why))


def _walk(folder: Path) -> list[tuple[Path, str]]:
    """List all files below a class folder, each with a reason to skip it or ''."""
    rows = []
    for where, folders, names in os.walk(folder):
        for name in sorted(folders):
            path = Path(where, name)
            if name.startswith("."):
                rows.append((path, "a hidden folder"))
            elif path.is_symlink():
                rows.append((path, "a link to a folder; links are not followed"))
            elif name.lower().endswith(_SUFFIXES):
                rows.append((path, "a folder, in spite of its name"))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(names):
            rows.append((Path(where, name), "a hidden file" if name.startswith(".") else ""))
    return rows


def _read_all(root: Path, files: list[Candidate], result: Scan, progress: Progress | None) -> None:
    files.sort(key=lambda file: file.path)
    read: list[Candidate | FileNote] = list(files)

    def one(i: int) -> None:
        read[i] = _read(root, files[i])

    run_threads(one, len(files), progress)
    result.candidates += [row for row in read if isinstance(row, Candidate)]
    result.notes += [row for row in read if isinstance(row, FileNote)]


def _read(root: Path, file: Candidate) -> Candidate | FileNote:
    path = root / file.path
    try:
        # A pipe would block for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            return FileNote(file.path, "skipped", "not a regular file")
        content = path.read_bytes()
    except OSError as error:
        return FileNote(file.path, "skipped", f"cannot be read: {error.strerror or error}")
    kind = picture_format(content)
    if kind is None:
        return FileNote(file.path, "skipped", not_a_picture(content))
    return Candidate(file.path, file.part, file.label, content_key(content), kind)


def _folders(folder: Path) -> list[str]:
    return sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
