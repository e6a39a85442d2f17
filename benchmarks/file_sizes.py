"""Bytes of exported files against the dense float32 state dict, by format and density.

Networks are untrained: the bytes do not depend on the values of the weights. The ONNX formats need the extra `export`.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from commons.tables import aligned
from sparse_training import models
from sparse_training.export import FORMATS, dense_bytes, export
from sparse_training.masks import make_masks
from sparse_training.reparam import sparsify
from sparse_training.runs import Network

CASES = [("mlp", "uniform"), ("resnet20", "erk"), ("resnet50", "erk")]
DENSITIES = (0.5, 0.2, 0.1, 0.05, 0.02)


def shares(model: str, distribution: str, density: float, onnx: bool, folder: Path) -> dict[str, object]:
    """One row: bytes of each format, in percent of dense."""
    side, channels = (models.published_sizes(model)[key] for key in ("image_size", "in_channels"))
    network = models.build(model, seed=0).eval()
    halves = density == 0.5
    masks = make_masks(network, density, "random", "2:4" if halves else distribution)
    held = Network(sparsify(network, masks).state_dict(), masks, {})
    row: dict[str, object] = {"network": model, "density": density, "dense bytes": dense_bytes(held)}
    for name, format in FORMATS.items():
        row[f"{name} %"] = None
        if (name == "2:4" and not halves) or (format.needs_model and not onnx):
            continue
        path = folder / f"net{format.suffixes[0]}"
        export(held, path, name, model=network, x=torch.zeros(2, channels, side, side))
        row[f"{name} %"] = round(100 * path.stat().st_size / dense_bytes(held), 2)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["mlp", "resnet20"], choices=[name for name, _ in CASES])
    parser.add_argument("--onnx", action="store_true", help="the ONNX formats too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            shares(name, distribution, density, args.onnx, Path(folder))
            for name, distribution in CASES
            if name in args.networks
            for density in DENSITIES
        ]
    print(aligned(rows))


if __name__ == "__main__":
    main()
