"""What recording signs costs: time as a share of an epoch, interleaved with training, and bytes for ResNet-50.

Run from the project's root; prints a table.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks.rounds import spread
from commons.tables import aligned
from sparse_training.masks import make_masks
from sparse_training.models import build
from sparse_training.reparam import sparsify
from sparse_training.runs.config import Config
from sparse_training.signs import SignTracker, flip_table
from sparse_training.training.distributed import World
from sparse_training.training.setup import prepare


def share_of_an_epoch(preset: str, epochs: int, folder: Path) -> dict[str, object]:
    """Medians over epochs of the time of an epoch's steps and of the record that follows it."""
    device = torch.device("cpu")
    config = Config.preset(preset).with_set(["mask.density=0.1", "engine.threads=1"])
    prepared = prepare(config, device, World())
    training = prepared.training
    tracker = SignTracker(training.sparse, folder / f"{preset}.bin")
    steps, records = [], []
    for epoch in range(epochs):
        begun = time.perf_counter()
        for x, y in prepared.data.train(epoch, config.batch_size, 0):
            prepared.passes(x, y)
            training.optimizer.step()
        between = time.perf_counter()
        tracker.record(epoch)
        records.append(time.perf_counter() - between)
        steps.append(between - begun)
    return _row(preset, median(steps), records)


def resnet50(folder: Path) -> dict[str, object]:
    """Record and read ResNet-50 at 10 % density; a lower bound of an epoch is 100 forward and backward passes of 8."""
    model = build("resnet50", image_size=224, num_classes=1000)
    sparse = sparsify(model, make_masks(model, 0.1, "random", "erk"))
    tracker = SignTracker(sparse, folder / "resnet50.bin")
    records = []
    for epoch in range(5):
        begun = time.perf_counter()
        tracker.record(epoch)
        records.append(time.perf_counter() - begun)
    x = torch.randn(8, 3, 224, 224)
    begun = time.perf_counter()
    model(x).sum().backward()
    images = 8 / (time.perf_counter() - begun)
    epoch_time = 1_281_167 / images
    begun = time.perf_counter()
    flip_table(tracker.history)
    read, size = (time.perf_counter() - begun) / 5, 101 * tracker.history.frame_bytes / 1e6
    print(f"ResNet-50: {size:.0f} MB for the start and 100 epochs; {read:.2f} s a frame to read")
    return _row("resnet50, ImageNet", epoch_time, records)


def _row(network: str, epoch: float, records: list[float]) -> dict[str, object]:
    share = f"{100 * median(records) / epoch:.2g} %"
    return {"network": network, "epoch, s": epoch, **spread(records, "record, s"), "share of an epoch": share}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        rows = [share_of_an_epoch("digits-mlp", 60, Path(name)), share_of_an_epoch("digits-cnn", 20, Path(name))]
        print(aligned([*rows, resnet50(Path(name))]), end="")
