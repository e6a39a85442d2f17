"""The explorer of the single neuron: one HTML file with plain JavaScript, which opens from disk."""

from pathlib import Path

from commons.files import output_file, write_text
from figures.joined import joined


def write_explorer(out: Path) -> None:
    """Write the explorer to the file `out`.

    Raises:
        InputError: out cannot be written to.
    """
    write_text(output_file("--out", out), joined("explorer"))
