"""The difficult folder: a right account of every file."""

import shutil
from pathlib import Path

import PIL
import pytest

from catdog_jax.data import load_dataset

CLASH = ("cat/wild_contradiction_Cat8456.jpg", "dog/wild_contradiction_Dog8736.jpg")
ACCOUNT = {
    **{
        here: ("skipped", f"the same picture as {there}, of another class; none is used")
        for here, there in (CLASH, CLASH[::-1])
    },
    "README.md": ("skipped", "not inside a class folder"),
    "cat/.DS_Store": ("skipped", "hidden"),
    "cat/666.jpg": ("skipped", "zero bytes"),
    "cat/cmyk.jpg": ("converted", "CMYK turned into RGB"),
    "cat/extreme_aspect.jpg": (
        "reported",
        "very long (1000x8), only the central 8x8 is seen; enlarged from 8x8 to 64x64",
    ),
    "cat/folder_named_like_image.jpg/.keep": ("skipped", "hidden"),
    "cat/gray16.png": ("converted", "16 bits scaled to 8; grey turned into RGB"),
    "cat/grayscale.jpg": ("converted", "grey turned into RGB"),
    "cat/notes.txt": ("skipped", "text, not a picture"),
    "cat/one_pixel.jpg": ("reported", "enlarged from 1x1 to 64x64"),
    "cat/trailing_garbage.jpg": ("reported", "bytes after the end of the picture"),
    "cat/truncated_half.jpg": ("skipped", "damaged JPEG: image file is truncated"),
    "cat/wild_webp_inside_Cat1035.png": ("reported", "a WEBP named .png; read as WEBP"),
    "dog/11702.jpg": ("skipped", "zero bytes"),
    "dog/exif_rotated.jpg": ("converted", "turned as its EXIF orientation 6 says"),
    "dog/html_error_page.jpg": ("skipped", "an HTML page, not a picture"),
    "dog/palette.gif": ("converted", "palette turned into RGB"),
    "dog/rgba.png": ("converted", "RGB with transparency laid on white"),
    "dog/truncated_header.jpg": ("skipped", "damaged JPEG: "),
    "dog/wild_git_lfs_pointer_flickr_dog_000002.jpg": (
        "skipped",
        "a Git LFS pointer, not the picture itself (fetch it with git lfs pull)",
    ),
}
# libjpeg decodes corrupt_bytes.jpg without a word; the twin of duplicate_of_rgb.jpg is elsewhere.
USED_AS_THEY_ARE = {
    "cat/Katze (Kopie) ü ñ.jpg",
    "cat/no_jfif_marker.jpg",
    "dog/UPPER.JPG",
    "dog/corrupt_bytes.jpg",
    "dog/duplicate_of_rgb.jpg",
    "dog/ext_is_jpeg.jpeg",
}


@pytest.fixture
def photos_bad(shared_data: Path, tmp_path: Path) -> Path:
    """Copy the folder, without its empty class and with the true name of .DS_Store."""
    root = tmp_path / "photos_bad"
    shutil.copytree(shared_data / "photos_bad", root, copy_function=shutil.copyfile)
    for folder in (root, root / "cat", root / "empty_class"):
        folder.chmod(0o755)
    (root / "cat/wild_DS_Store").rename(root / "cat/.DS_Store")
    shutil.rmtree(root / "empty_class")
    return root


def test_every_file_is_accounted_for(photos_bad: Path):
    dataset = load_dataset("folder", data_dir=str(photos_bad))
    found = {note.path: (note.action, note.reason) for note in dataset.files}
    assert found.keys() == ACCOUNT.keys()
    assert len(found) == len(dataset.files)
    for path, (action, reason) in ACCOUNT.items():
        assert found[path][0] == action, path
        # Pillow words the two kinds of truncation itself, and may word them anew.
        same = found[path][1].startswith if "damaged" in reason else found[path][1].__eq__
        assert same(reason), path
    skipped = {path for path, (action, _) in ACCOUNT.items() if action == "skipped"}
    used = {name for split in (dataset.train, dataset.valid, dataset.test) for name in split.ids}
    assert used == (ACCOUNT.keys() - skipped) | USED_AS_THEY_ARE
    on_disk = {p.relative_to(photos_bad).as_posix() for p in photos_bad.rglob("*") if p.is_file()}
    assert on_disk <= ACCOUNT.keys() | USED_AS_THEY_ARE
    assert load_dataset("folder", data_dir=str(photos_bad)).files == dataset.files


def test_photos_load_with_their_own_parts(shared_data: Path):
    dataset = load_dataset("folder", data_dir=str(shared_data / "photos"), image_size=32)
    counts = dataset.provenance["counts"]
    assert counts["train"] == {"cat": 400, "dog": 400}
    assert counts["test"] == {"cat": 200, "dog": 200}
    assert dataset.files == ()
    # Golden: of Pillow 13, whose decoders other versions may replace.
    if PIL.__version__.startswith("13."):
        assert dataset.provenance["fingerprint"].startswith("de969100b3")
