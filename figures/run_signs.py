"""What the explorer shows of a run's signs: flips by layer and epoch, and how often each weight flipped."""

import base64
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

CELLS = 1 << 20  # weights of a layer that are shown; of a larger one every n-th row and column
INACTIVE = 65535


def signs_of_run(folder: Path) -> dict[str, Any]:
    """The values that pages/explorer/signs.js reads, of the run in a folder.

    A layer is a matrix whose rows are the outputs. `flips` are its counts as bytes, up to 255; `last` is the epoch of a
    weight's last flip plus 1 as two bytes, 0 for never, and INACTIVE off the mask at the end. Both are compressed by
    zlib and written in base64.

    Raises:
        InputError: the folder holds no run, or its history of signs is damaged.
    """
    from sparse_training.signs import flip_table, history_of

    table = flip_table(history_of(folder))
    by_layer: dict[str, list[dict[str, Any]]] = {name: [] for name in table.flips}
    for counts in table.rows:
        by_layer[counts.layer].append(counts.row())
    layers = []
    for name, flips in table.flips.items():
        rows, columns = (flips.shape[0], math.prod(flips.shape[1:])) if flips.ndim > 1 else (1, flips.size)
        every = math.ceil(math.sqrt(rows * columns / CELLS))
        last = np.where(table.active[name], np.minimum(table.last_flip[name], INACTIVE - 2) + 1, INACTIVE)
        shown = [x.reshape(rows, columns)[::every, ::every] for x in (np.minimum(flips, 255), last)]
        layers.append(
            {
                "name": name,
                "shape": [rows, columns],
                "rows": shown[0].shape[0],
                "columns": shown[0].shape[1],
                "every": every,
                "flips": _packed(shown[0], np.uint8),
                "last": _packed(shown[1], np.uint16),
                **{key: [row[key] for row in by_layer[name]] for key in ("since_init", "since_previous")},
            }
        )
    return {"name": folder.resolve().name, "epochs": table.epochs, "layers": layers}


def _packed(values: "np.ndarray[Any, Any]", kind: type[np.unsignedinteger[Any]]) -> str:
    little = np.ascontiguousarray(values).astype(np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(zlib.compress(little.tobytes(), 9)).decode()
