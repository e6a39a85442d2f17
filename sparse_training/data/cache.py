"""The folder in which decoded pixels are kept between runs: where it is, what it holds, and how it is emptied."""

import os
import stat
from pathlib import Path

from commons.files import remove_unfinished


def cache_folder() -> Path:
    """`sparse_training` in $XDG_CACHE_HOME, or in ~/.cache where that is not set."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return home / "sparse_training"


def cache_file(key: str) -> Path:
    """Where the pixels of this key are kept."""
    return cache_folder() / f"{key}.safetensors"


def cached() -> dict[Path, os.stat_result]:
    """The files in the cache, the oldest first; links are no files."""
    found = {path: path.lstat() for path in cache_folder().glob("[!.]*.safetensors")}
    ours = {path: status for path, status in found.items() if stat.S_ISREG(status.st_mode)}
    return dict(sorted(ours.items(), key=lambda item: item[1].st_mtime))


def clear() -> tuple[int, int]:
    """Remove every file in the cache; returns how many there were, and their bytes. What needs them decodes again.

    What processes that were killed left unfinished goes too.
    """
    files = cached()
    remove_unfinished(cache_folder())
    for path in files:
        path.unlink(missing_ok=True)
    return len(files), sum(status.st_size for status in files.values())
