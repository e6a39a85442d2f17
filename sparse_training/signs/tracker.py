"""Record the signs of a network while it trains, one packed frame an epoch; the network stays as it is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from commons.files import output_file
from sparse_training.masks import prunable
from sparse_training.signs.packed import SignHistory, SignWriter, pack_signs


@runtime_checkable
class SparseNetwork(Protocol):
    """Any network that knows its merged weights and its present masks, as what `sparsify` returns does."""

    @property
    def masks(self) -> Mapping[str, Tensor]: ...

    def weights(self) -> Mapping[str, Tensor]: ...


class SignTracker:
    """Write the signs of a network's active weights to a file, epoch by epoch.

    network: what `sparsify` returns, whose masks may change while it trains, or any module. The tracker follows the
    prunable weights of a module and takes `masks` as their fixed support; None means that all are active.
    path: the file, whose folder is made if needed. It is continued where it exists, and takes two bits a weight and
    epoch: 640 MB for ResNet-50 and 100 epochs.

        tracker = SignTracker(sparse, "signs.bin")
        tracker.record(0)                    # the start of training
        ...; tracker.record(epoch)           # after each epoch
        flip_table(tracker.history).rows

    Raises:
        InputError: The file records another network, or cannot be written to.
    """

    def __init__(
        self, network: nn.Module | SparseNetwork, path: str | Path, masks: Mapping[str, Tensor] | None = None
    ) -> None:
        self._weights: Callable[[], Mapping[str, Tensor]]
        self._masks: Callable[[], Mapping[str, Tensor] | None]
        if isinstance(network, SparseNetwork):
            self._weights, self._masks = network.weights, lambda: network.masks
        else:
            self._weights, self._masks = lambda: prunable(network), lambda: masks
        shapes = {name: tuple(weight.shape) for name, weight in self._weights().items()}
        self._writer = SignWriter(output_file("path", path), shapes)

    def record(self, epoch: int) -> None:
        """Append the signs as they are now; frames of this epoch or later, left by an interrupted run, are dropped."""
        self._writer.write(epoch, pack_signs(self._weights(), self._masks()))

    @property
    def history(self) -> SignHistory:
        """The frames recorded so far."""
        return SignHistory(self._writer.path)
