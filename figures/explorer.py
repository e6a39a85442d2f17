"""The explorer: one HTML file with plain JavaScript, for the single neuron and for the signs of a run."""

from pathlib import Path

from commons.files import output_file, write_text
from figures.joined import joined


def write_explorer(out: Path, run: Path | None = None) -> None:
    """Write the explorer to the file `out`; with the folder of a run its signs are a second tab.

    Raises:
        InputError: out cannot be written to, or the folder holds no run with signs.
    """
    output_file("--out", out)
    if run is None:
        write_text(out, joined("explorer"))
        return
    from figures.run_signs import signs_of_run

    write_text(out, joined("explorer", signs_of_run(run)))
