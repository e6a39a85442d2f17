"""The sign history of a run, whether it was recorded in training or has to be packed from the saved networks."""

from pathlib import Path

from sparse_training.runs.run import Run
from sparse_training.signs.packed import SignHistory, SignWriter, pack_signs


def history_of(folder: str | Path) -> SignHistory:
    """Open the history that was recorded while the run trained, or pack one now from the saved networks.

    A history that is packed now is written to signs-packed.bin in the run's folder, where the next call finds it.

    Raises:
        InputError: The folder holds no run, the run has no saved network, or its history of signs was cut or edited.
    """
    run = Run(folder)
    recorded, packed = run.signs_file, run.path / "signs-packed.bin"
    for path in (recorded, packed):
        if path.exists() and SignHistory(path).epochs:
            return SignHistory(path)
    first = run.network(run.epochs[0] if run.epochs else -1)
    writer = SignWriter(packed, {name: tuple(weight.shape) for name, weight in first.weights().items()})
    for epoch in run.epochs:
        network = run.network(epoch)
        writer.write(epoch, pack_signs(network.weights(), network.masks))
    return SignHistory(packed)
