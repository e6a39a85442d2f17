"""Text that is safe to print: what a file or a folder from elsewhere is named must not steer a terminal."""

import re

# C0 and C1 controls but tab and newline, line separators, bidirectional overrides, and halves of surrogate pairs, as
# which Python holds the bytes of a file name that is not UTF-8.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""Text with control characters, and characters that the encoding lacks, written as \x1b, ā or \udcff."""
    escaped = _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def one_line(text: str) -> str:
    """Text as `printable` gives it, with every run of white space as one space."""
    return printable(" ".join(text.split()))


def slug(label: str) -> str:
    """At most 60 characters that any file system takes as a name; different labels may give the same."""
    return re.sub(r"[^\w.=-]+", "_", label)[:60].strip("_.-") or "run"
