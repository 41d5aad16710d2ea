"""Photographs of one's own: class folders, or train/test folders of class folders."""

import contextlib
import os
import re
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from catdog_jax.data import assemble, pictures
from catdog_jax.data.assemble import Example
from catdog_jax.data.cache import cached
from catdog_jax.types import Dataset, DatasetSpec, FileNote, InputError

_SPLIT_FOLDER = r"(train|test|valid|val)(ing|ation)?[-_ ]?(set|data|images)?"
# Where NAS and other systems keep small copies, what was deleted, and what is no one's picture.
_HIDDEN = (
    *(".", "@eaDir", "@__thumb", "@Recycle", "@Recently-Snapshot", "#recycle", "#snapshot"),
    *("$RECYCLE.BIN", "__MACOSX", "System Volume Information", "lost+found"),
)
_RUN = "manifest.json"  # what a run folder holds


def load(
    *,
    data_dir: str | None,
    classes: Sequence[str],
    image_size: int,
    progress: pictures.Progress,
    valid: float = 0.0,
) -> Dataset:
    """Load the pictures of a folder.

    Without train and test folders the pictures are divided 80/10/10 by their content. With them
    they are used as given; `valid` comes from its own folder, or as a fraction of train.

    Args:
      data_dir: the folder.
      classes: class folders in label order; empty: all of them, sorted.
      image_size: pixels of a side; 0: 64.
      progress: called with (done, total), once while reading and once while decoding.
      valid: fraction of train that becomes valid, 0..0.5.

    Returns:
      The data set; `files` has a row for each file that was not used as it is.

    Raises:
      InputError: no folder, fewer than two classes, a class without pictures, too few of a class.
    """
    if not data_dir:
        raise InputError("--dataset=folder needs --data_dir=FOLDER, a folder of class folders")
    root, size = Path(os.path.expanduser(data_dir)), image_size or 64
    split_of, class_names = _layout(root, classes)
    labelled, skipped = _list_files(root, split_of, class_names)
    keys = pictures.in_threads(lambda path: _key(root / path), list(labelled), progress)
    examples = []
    for (path, (label, split)), found in zip(labelled.items(), keys, strict=True):
        if isinstance(found, bytes):
            examples.append(Example(found, label, path, split))
        else:
            skipped[path] = found
    fractions = assemble.split_fractions(valid, split_of.values(), str(root))

    def build() -> Dataset:
        used = _without_repeats(examples, skipped)
        for label, name in enumerate(class_names):
            if label not in {example.label for example in used}:
                whys = [why for path, why in skipped.items() if f"{name}/" in path] or ["empty"]
                raise InputError(
                    f"--data_dir={root}: no picture of {name!r} can be used ({len(whys)} files; "
                    f"the first: {whys[0]}); add some, or choose others with --classes=a,b"
                )
        pictures.check_memory(len(used), size)
        names = [example.id for example in used]
        paths = [root / name for name in names]
        pixels, good, notes = pictures.decode_many(paths, names, size, progress)
        files = sorted(notes + [FileNote(path, "skipped", why) for path, why in skipped.items()])
        provenance = {
            "source": "folder",
            "layout": "class folders" if "" in split_of else "train/test folders",
            "files_noted": len(files),
        }
        used = [used[i] for i in good]
        return assemble.assemble("folder", pixels, used, fractions, class_names, provenance, files)

    key = {
        "source": "folder",
        "files": [[example.key.hex(), *example[1:]] for example in examples],
        "skipped": skipped,
        "classes": class_names,
        "image_size": size,
        "fractions": fractions,
    }
    return cached(key, build)


def _layout(root: Path, classes: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the split of each folder of class folders, {'': ''} where undivided, and classes."""
    if not root.is_dir():
        raise InputError(f"--data_dir={root} is no folder; give one that holds class folders")
    split_of = {name: split for name in _folders(root) if (split := _split(name))}
    parts = [name for name, split in split_of.items() if split != "valid"]
    if len(parts) == 1:
        raise InputError(
            f"--data_dir={root} has a folder {parts[0]!r}, but train and test go together; add the "
            f"other, or give --data_dir={root / parts[0]} to have its pictures divided 80/10/10"
        )
    split_of = split_of if parts else {"": ""}
    found = sorted({name for folder in split_of for name in _folders(root / folder)})
    return split_of, assemble.choose_classes(classes or found, found, str(root))[1]


def _split(name: str) -> str:
    """Return which split a folder of class folders is, going by its name; '' for another folder."""
    found = re.fullmatch(_SPLIT_FOLDER, name.casefold())
    return {"val": "valid"}.get(found[1], found[1]) if found else ""


def _folders(folder: Path) -> list[str]:
    """List the folders in one that may be classes: neither hidden nor full of runs."""
    found = [path for path in folder.iterdir() if path.is_dir()]
    found = [path for path in found if not path.name.startswith(_HIDDEN) and not _is_of_runs(path)]
    return sorted(path.name for path in found)


def _is_of_runs(folder: Path) -> bool:
    """Return whether a folder is a run, or holds runs (of several experiments) and no file."""
    with contextlib.suppress(OSError):  # it may not be read
        if any(path.is_file() for path in folder.iterdir()):
            return _is_run(folder)
    return any(_is_run(found.parent) for at in ("*/", "*/*/") for found in folder.glob(at + _RUN))


def _is_run(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return b'"sha256"' in (folder / _RUN).read_bytes()[:99]  # another file may have that name
    return False


def _list_files(
    root: Path, split_of: Mapping[str, str], class_names: Sequence[str]
) -> tuple[dict[str, tuple[int, str]], dict[str, str]]:
    """Return label and split of each file in a class folder, and why all else is skipped."""
    levels = [(tuple(split_of), "not train, valid or test"), (class_names, "not one of --classes")]
    levels = levels[1:] if "" in split_of else levels
    files: dict[str, tuple[int, str]] = {}
    skipped: dict[str, str] = {}

    def unreadable(error: OSError) -> None:
        path = Path(error.filename).relative_to(root).as_posix()
        skipped[path] = f"cannot be read: {error.strerror}"

    # Links to class folders are followed; links inside them are not, they may lead in circles.
    for where, folders, names in os.walk(root, onerror=unreadable, followlinks=True):
        here = Path(where).relative_to(root)
        above = levels[len(here.parts) :]  # of the folders that hold pictures
        for name, is_file in [*((x, False) for x in folders), *((x, True) for x in names)]:
            path = (here / name).as_posix()
            if name.startswith(_HIDDEN):
                skipped[path] = "hidden"
            elif above and is_file:
                skipped[path] = "not inside a class folder"
            elif above and name not in above[0][0]:
                skipped[path] = above[0][1]
            elif not is_file and _is_run(Path(where, name)):
                skipped[path] = "a run folder"
            elif not (above or is_file) and Path(where, name).is_symlink():
                skipped[path] = "a link to a folder; links are not followed"
            elif is_file:
                label = class_names.index(here.parts[len(levels) - 1])
                files[path] = label, split_of.get(here.parts[0], "")
        folders[:] = [name for name in folders if (here / name).as_posix() not in skipped]
    return dict(sorted(files.items())), skipped


def _key(path: Path) -> bytes | str:
    """Return the digest of a picture's content, or why the file is not used."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "not a regular file"  # a pipe would block for ever
        with path.open("rb") as file:
            head = file.read(pictures.HEAD)
            pictures.picture_format(head)
            return assemble.content_key(head + file.read())
    except pictures.PictureError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _without_repeats(examples: Sequence[Example], skipped: dict[str, str]) -> list[Example]:
    """Keep one file of each content, none where the content has two labels."""
    groups: dict[bytes, list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.key].append(example)
    kept = []
    for group in groups.values():
        # What is in test stays there: what was trained on must not be tested on.
        first = max(group, key=lambda e: assemble.SPLITS.index(e.split or "train"))
        for e in group:
            if others := ", ".join(o.id for o in group if o.label != e.label):
                skipped[e.id] = f"the same picture as {others}, of another class; none is used"
            elif e is first:
                kept.append(e)
            else:
                skipped[e.id] = f"the same picture as {first.id}, which is used"
    return kept


DATASETS = {"folder": DatasetSpec(load=load, num_members=8)}
