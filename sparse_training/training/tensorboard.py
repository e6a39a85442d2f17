"""Metrics of a run as TensorBoard events, for those who have it installed.

It only copies what metrics.jsonl holds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commons.checks import InputError

Report = Callable[[dict[str, Any]], object]


@contextmanager
def board(path: Path, report: Report) -> Iterator[Report]:
    """A report that also adds the metrics of each epoch to an event file in the folder.

    Raises:
        InputError: the package tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("tensorboard=true needs the package tensorboard: install the extra [tensorboard]") from None

    def show(metrics: dict[str, Any]) -> None:
        for name, value in metrics.items():
            if name != "epoch" and isinstance(value, int | float):
                writer.add_scalar(name, value, metrics["epoch"])
        report(metrics)

    with SummaryWriter(str(path)) as writer:
        yield show
