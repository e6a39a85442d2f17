"""Record the signs of a network while it trains, one packed frame an epoch.

It never changes the network, and never reads more of it than its prunable weights and their mask.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from sparse_training.signs.packed import SignHistory, SignWriter, pack_signs


@runtime_checkable
class SparseNetwork(Protocol):
    """What `sparsify` returns, and anything else that knows its merged weights and its present masks."""

    @property
    def masks(self) -> Mapping[str, Tensor]: ...

    def weights(self) -> Mapping[str, Tensor]: ...


class SignTracker:
    """Writes the signs of a network's active weights to a file, epoch by epoch.

    network: what `sparsify` returns (its masks may change while it trains), or any module; of a module the prunable
    weights are followed, with `masks` as their fixed support (None: all active).
    path: the file, continued where it exists; two bits a weight and epoch, 640 MB for ResNet-50 and 100 epochs.

        tracker = SignTracker(sparse, "signs.bin")
        tracker.record(0)                    # the start of training
        ...; tracker.record(epoch)           # after each epoch
        flip_table(tracker.history).rows

    Raises:
        InputError: the file records another network.
    """

    def __init__(
        self, network: nn.Module | SparseNetwork, path: str | Path, masks: Mapping[str, Tensor] | None = None
    ) -> None:
        self._weights: Callable[[], Mapping[str, Tensor]]
        self._masks: Callable[[], Mapping[str, Tensor] | None]
        if isinstance(network, SparseNetwork):
            self._weights, self._masks = network.weights, lambda: network.masks
        else:
            from sparse_training.masks import prunable

            self._weights, self._masks = lambda: prunable(network), lambda: masks
        shapes = {name: tuple(weight.shape) for name, weight in self._weights().items()}
        self._writer = SignWriter(Path(path), shapes)

    def record(self, epoch: int) -> None:
        """Append the signs as they are now; frames of this epoch or later, left by an interrupted run, are dropped."""
        self._writer.write(epoch, pack_signs(self._weights(), self._masks()))

    @property
    def history(self) -> SignHistory:
        """The frames recorded so far."""
        return SignHistory(self._writer.path)


def history_of(folder: str | Path) -> SignHistory:
    """The sign history of a run: the one recorded while it trained, or else one packed now from its saved networks.

    Raises:
        InputError: the folder holds no run, or one without a saved network.
    """
    from sparse_training.runs.run import Run

    run = Run(folder)
    path = run.path / "signs.bin"
    if not path.exists() or not SignHistory(path).epochs:
        first = run.network(run.epochs[0] if run.epochs else -1)
        writer = SignWriter(path, {name: tuple(weight.shape) for name, weight in first.weights().items()})
        for epoch in run.epochs:
            network = run.network(epoch)
            writer.write(epoch, pack_signs(network.weights(), network.masks))
    return SignHistory(path)
