"""Temporary folders that do not pile up: what a killed run has left is removed by the next."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_USE = "in-use"


@contextmanager
def temporary(purpose: str) -> Iterator[Path]:
    """Make a folder and remove it at the end, with those of the same purpose whose program is dead."""
    prefix = f"sealwright-{purpose}-"
    for other in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_if_left(other)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        with (folder / _IN_USE).open("w") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX)  # until this process ends, however it does
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    try:
        with (folder / _IN_USE).open("r+") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # in use, just being made, or somebody else's
        return
