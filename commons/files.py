"""Files that are whole or absent, and readers that say in one line what is wrong with a file.

A file is written beside its place, synced and renamed, so that a kill leaves the old or the new one. Only an absent or
a regular file is ever written to: never a device, a folder, or what a link points to.
"""

import errno
import fcntl
import json
import os
import secrets
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from commons.checks import InputError

TEMPORARY = ".unfinished-"  # begins the name of a file while it is written


# The machine lacks something, whichever file is asked for: no fault of an argument, told by `commons.cli` as such.
_SHORT_OF = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)


class OldForm(UserWarning):
    """A file was written by an older version: it is read, and the message says what that version did not keep."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call write(temporary path in the same folder), then fsync and rename it to path.

    The file's permissions are those that the umask leaves. Temporary files of the same path whose writer was killed
    are removed first. An OSError names `path`.

    Raises:
        InputError: path is a folder, a link, a device or anything else that is no regular file.
    """
    _check_replaceable(path)
    mark = f"{zlib.crc32(path.name.encode(errors='surrogateescape')):08x}-"
    remove_unfinished(path.parent, mark)
    temporary = path.with_name(f"{TEMPORARY}{mark}{secrets.token_hex(4)}{path.suffix}")
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held as long as the writer lives
            write(temporary)
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        finally:
            os.close(handle)
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise


def remove_unfinished(folder: Path, mark: str = "") -> None:
    """Remove temporary files in the folder whose writer no longer lives."""
    for path in folder.glob(f"{TEMPORARY}{mark}*"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except OSError:
            pass  # its writer lives, or the folder is not ours: a later run tries again
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write value as indented JSON, whole or not at all."""
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """The text that `write_json` writes."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, all with the keys of the first, as CSV with a header, whole or not at all."""
    import csv

    table = list(rows)

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(table[0]) if table else [])
            writer.writeheader()
            writer.writerows(table)

    write_whole(path, write)


def append_line(path: Path, line: str) -> None:
    """Append one line and sync it. A kill can cut the last line short; readers use `complete_lines`."""
    with open_own(path, "ab") as file:
        file.write(line.encode() + b"\n")
        sync(file)


def open_own(path: Path, mode: str) -> IO[bytes]:
    """Open a file of ours to be written in place: made if a mode allows it, never reached through a link.

    Raises:
        InputError: path is no regular file.
    """
    _check_replaceable(path)
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666))


def sync(file: IO[bytes]) -> None:
    """Let what was written to an open file reach the disk."""
    file.flush()
    os.fsync(file.fileno())


def read_bytes(path: str | Path) -> bytes:
    """The content of a regular file.

    Raises:
        InputError: the file is missing, is a folder, a pipe or a device, or cannot be read.
    """
    with open_regular(path) as file:
        return file.read()


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a regular file to be read; raises as `read_bytes`. A pipe is refused, never waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        mode = os.fstat(handle).st_mode
    except ValueError as error:  # a null byte in the name
        unreadable(path, str(error))
    except OSError as error:
        if error.errno in _SHORT_OF:
            raise
        unreadable(path, error.strerror or str(error))
    if not stat.S_ISREG(mode):
        os.close(handle)
        unreadable(path, f"it is {_kind(mode)}")
    return os.fdopen(handle, "rb")


def read_text(path: str | Path) -> str:
    """The UTF-8 text of a regular file; InputError in one line where it cannot be read or is no such text."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        unreadable(path, f"it is not UTF-8 text (byte {error.start})")


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file; InputError in one line where it cannot be read or holds something else."""
    return _json_object(path, read_text(path), "")


def read_npz(path: str | Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays in a NumPy .npz file; InputError in one line where it cannot be read or holds pickled objects."""
    with open_regular(path) as file:
        try:
            with np.load(file, allow_pickle=False) as saved:
                return {name: saved[name] for name in saved.files}
        except Exception as error:  # whatever the bytes of another file, or of a damaged one, lead the library to
            unreadable(path, f"it is no whole .npz file ({type(error).__name__})")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The JSON objects in the complete lines of a file, none where it is absent; InputError names a bad line."""
    return [_json_object(path, line, f"line {number}: ") for number, line in enumerate(complete_lines(path), start=1)]


def complete_lines(path: Path) -> list[str]:
    """The lines of path that end in a newline; a last one cut short by a kill is left out."""
    if not os.path.lexists(path):
        return []
    content = read_bytes(path)
    try:
        return content[: content.rfind(b"\n") + 1].decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        unreadable(path, f"line {number}: it is not UTF-8 text")


def unreadable(path: str | Path, reason: str) -> NoReturn:
    """Raise InputError `'path' cannot be read: reason`, in one line."""
    raise InputError(f"{str(path)!r} cannot be read: {' '.join(reason.split())}") from None


def output_file(argument: str, path: str | Path) -> Path:
    """The path, with its folder made if needed; InputError in one line where it cannot be written to."""
    output_directory(argument, Path(path).parent)
    _check_replaceable(Path(path))
    return Path(path)


def output_directory(argument: str, path: str | Path) -> Path:
    """Make the folder if needed and return it; InputError in one line where it cannot be written to."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in _SHORT_OF:
            raise
        raise InputError(f"{argument}={str(path)!r} cannot be written to: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the name
        raise InputError(f"{argument}={str(path)!r} cannot be written to: {error}") from None
    return folder


def _json_object(path: str | Path, text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except RecursionError:
        unreadable(path, f"{where}it is nested too deeply")
    except ValueError as error:  # no JSON, or an integer of thousands of digits
        unreadable(path, f"{where}{error}")
    if not isinstance(value, dict):
        unreadable(path, f"{where}a {type(value).__name__} where an object is expected")
    return value


def _check_replaceable(path: Path) -> None:
    """Raise InputError unless path is absent or a regular file."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise InputError(f"{str(path)!r} is {_kind(mode)}: only a regular file is written to or replaced")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
