"""The folder of a reproduction: a marker that lists what is written there, so that nothing else is ever deleted."""

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from commons.checks import InputError
from commons.files import output_directory, read_json, write_json

MARKER, SUMMARY = "settings.json", "summary.json"
# What a run leaves in its folder.
OF_RUNS = re.compile(
    r"\.lock|(config\.toml|environment\.json|history\.json|metrics\.jsonl|signs\.bin|summary\.json)"
    r"|sharpness/largest\.json|checkpoints/(epoch|state)-\d+\.safetensors"
)


class Folder:
    """The folder of a reproduction with its marker, made or taken up.

    The marker, settings.json, holds the settings, the files that are written (`files`, relative paths) and the folders
    of runs (`runs`). Both are listed before they are written.

    Raises:
        InputError: the folder cannot be written to; holds a finished reproduction and not `force`, an unfinished one
            with other settings, or foreign files; or its marker cannot be read.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], force: bool = False) -> None:
        self.path, self.settings = output_directory("--out", path), dict(settings)
        self._files: list[str] = []
        self._runs: list[str] = []
        self._listed = True
        marker, summary = path / MARKER, path / SUMMARY
        known = self._read(marker) if os.path.lexists(marker) else None
        if os.path.lexists(summary) and not force:
            read_json(summary)
            raise InputError(f"--out={str(path)!r} holds a finished run; pass --force to replace it, or another folder")
        if known is None and any(path.iterdir()):
            raise InputError(f"--out={str(path)!r} holds files that are not of a reproduction; name a new folder")
        if force and known is not None:
            self._replace()
        elif known is not None and known != self.settings:
            raise InputError(f"--out={str(path)!r} holds an unfinished run with {known}; pass these, or --force")
        self.add()

    def add(self, files: Iterable[str] = (), runs: Iterable[Path] = ()) -> None:
        """List files and folders of runs that are about to be written."""
        self._files = list(dict.fromkeys([*self._files, *files]))
        self._runs = list(dict.fromkeys([*self._runs, *(run.relative_to(self.path).as_posix() for run in runs)]))
        content = {"settings": self.settings, "files": self._files, "runs": self._runs}
        write_json(self.path / MARKER, {"made by": "python -m figures reproduce", **content})

    def _read(self, marker: Path) -> dict[str, Any]:
        """The settings that a marker holds; takes its lists over."""
        content = read_json(marker)
        if content and set(content) <= set(self.settings):  # of an earlier version, which kept no lists
            self._listed = False
            return content
        lists = [content.get(key) for key in ("files", "runs")]
        if not all(isinstance(paths, list) and all(isinstance(p, str) for p in paths) for paths in lists):
            raise InputError(f"--out={str(self.path)!r} holds a {MARKER} that is not of a reproduction")
        self._files, self._runs = content["files"], content["runs"]
        return dict(content["settings"])

    def _replace(self) -> None:
        """Delete what the marker lists, through no link, and the folders that this leaves empty."""
        if not self._listed:
            raise InputError(
                f"--out={str(self.path)!r} was written by an earlier version, which did not list its files: "
                "delete it yourself, or name another folder"
            )
        if self.path.is_symlink():
            raise InputError(f"--out={str(self.path)!r} is a link; name the folder itself to replace its content")
        for name in self._files:
            self._delete(name)
        for name in self._runs:
            self._delete(f"{name}.start.safetensors")
            run = self.path / name
            for file in list(run.rglob("*")) if self._inside(name) else ():
                if OF_RUNS.fullmatch(file.relative_to(run).as_posix()):
                    self._delete(file.relative_to(self.path).as_posix())
            for folder in (f"{name}/checkpoints", f"{name}/sharpness"):
                self._remove_empty(folder)
        for name in self._runs:
            self._remove_empty(name)
        self._files, self._runs = [], []

    def _delete(self, name: str) -> None:
        path = self.path / name
        if self._inside(name) and os.path.lexists(path) and stat.S_ISREG(os.lstat(path).st_mode):
            path.unlink()
            self._remove_empty(PurePosixPath(name).parent.as_posix())

    def _remove_empty(self, name: str) -> None:
        """Remove a folder and those above it, up to this one, as far as they are empty."""
        place = PurePosixPath(name)
        while place.parts and self._inside(place.as_posix()):
            try:
                (self.path / place).rmdir()
            except OSError:
                return
            place = place.parent

    def _inside(self, name: str) -> bool:
        """Whether a relative path stays in this folder and no folder on the way is a link."""
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or not place.parts:
            return False
        return not any((self.path / above).is_symlink() for above in place.parents if above.parts)
