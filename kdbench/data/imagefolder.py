"""A tree of pictures of one's own: train/CLASS/* and test/CLASS/*, perhaps validation/CLASS/*."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.data.kept import kept
from kdbench.data.pictures import Picture, gathered
from kdbench.data.source import VARIABLE, Whereabouts, damaged, data_folder
from kdbench.errors import UsageError
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from kdbench.data.dataset import Dataset, SplitName

VERSION = 1
"""Raised by whoever changes what is made of the same tree."""

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
_NEEDED: tuple[SplitName, ...] = ("train", "test")
_DETAIL = re.compile(r"(?P<tree>[A-Za-z0-9][A-Za-z0-9._+-]*)(?:@(?P<side>[1-9][0-9]{0,3}))?")


class ImageFolder:
    """Trees of pictures in ``KDBENCH_DATA``, by their folders' names; ``NAME@SIDE`` scales each to a square."""

    detail = f"NAME or NAME@SIDE of a tree ${VARIABLE}/NAME, as in imagefolder:flowers@32"
    """What stands after the colon in a suite."""

    def __call__(self, detail: str) -> Dataset:
        """The data set of the tree that ``detail`` names, read once a process.

        Test items stand in the order of their names. A tree without ``validation`` has a tenth of every class of
        ``train`` held out.

        Raises:
            UsageError: there is no such tree, or it is not one of pictures in class folders.
        """
        match = _DETAIL.fullmatch(detail)
        if match is None:
            raise UsageError(f"data set 'imagefolder:{detail}': expected {self.detail}")
        folder = data_folder()
        if folder is None:
            raise UsageError(
                f"data set 'imagefolder:{detail}': {VARIABLE} is not set; it names the folder of your trees"
            )
        tree = folder / match["tree"]
        for split in _NEEDED:
            if not (tree / split).is_dir():
                raise UsageError(f"no folder {tree / split}; a tree has train/CLASS/* and test/CLASS/*")
        return _opened(f"imagefolder:{detail}", tree, int(match["side"]) if match["side"] else None)

    def where(self) -> Whereabouts:
        """The trees that ``KDBENCH_DATA`` has."""
        folder = data_folder()
        trees = sorted(path.name for path in folder.iterdir() if _is_tree(path)) if folder else []
        if trees:
            return Whereabouts(found=True, said=f"in ${VARIABLE}: {', '.join(trees)}")
        said = "no trees in $" + VARIABLE if folder else VARIABLE + " is not set"
        return Whereabouts(
            found=False, said=said, hint=f"put pictures into ${VARIABLE}/NAME/train/CLASS and test/CLASS"
        )


imagefolder = ImageFolder()
"""A tree of your own pictures in $KDBENCH_DATA: imagefolder:NAME, or imagefolder:NAME@SIDE to scale them."""


def _is_tree(path: Path) -> bool:
    return all((path / split).is_dir() for split in _NEEDED)


@cache
def _opened(name: str, tree: Path, side: int | None) -> Dataset:
    splits: dict[SplitName, list[Picture]] = {
        split: _pictures(tree / split) for split in _SPLITS if (tree / split).is_dir()
    }
    digest = hashlib.sha256(repr((VERSION, side, version("pillow"))).encode())
    for split, pictures in splits.items():
        for picture in pictures:
            assert isinstance(picture.data, Path)
            try:
                content = file_sha256(picture.data)
            except OSError as error:
                raise damaged(picture.data, error) from None
            digest.update(f"{split}/{picture.label}/{content}\n".encode())
    return kept(name, digest.hexdigest(), lambda: gathered(name, str(tree), dict(splits), side))


def _pictures(folder: Path) -> list[Picture]:
    """The pictures in the class folders of a split, by class and name; hidden and other files are passed over."""
    found = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = sorted(path for path in place.rglob("*") if _is_picture(path))
        if not files:
            raise UsageError(f"{place} has no pictures; expected files such as {SUFFIXES[3]} or {SUFFIXES[4]}")
        found += [Picture(place.name, str(path), path) for path in files]
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
