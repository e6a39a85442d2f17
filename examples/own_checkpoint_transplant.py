"""Signs of one's own checkpoints: compared, transplanted and trained again, in Python and on the command line."""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparse_training import Masks, make_masks, max_eigenvalue, sparsify
from sparse_training.data import Data, from_splits
from sparse_training.methods import ACDC
from sparse_training.signs import flips_by_layer
from sparse_training.transplant import Cell, Source, build_start

STEPS = 300
OWN = "own_checkpoint_transplant"  # this file, as the command line imports it


def network(num_classes: int = 10) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes))


def samples() -> Data:
    """What the checkpoints are trained and tested on; the command line is told of it by its name."""
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x = x.float() / 16
    return from_splits("digits", (x[:1500], y[:1500]), (x[1500:], y[1500:]))


def train(
    model: nn.Module, masks: Masks, x: Tensor, y: Tensor, test: tuple[Tensor, Tensor], method: ACDC | None = None
) -> tuple[Masks, float]:
    """Train on masks that stay, or by a method that begins with them; returns the masks and the test accuracy."""
    sparse = sparsify(model, masks)
    optimizer = torch.optim.SGD(sparse.parameter_groups(weight_decay=1e-4), lr=0.1, momentum=0.9)
    sparse.attach(optimizer)
    if method is not None:
        method.attach(sparse, optimizer, STEPS, density=0.1)
    for _ in range(STEPS):
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return sparse.masks, float((model(test[0]).argmax(1) == test[1]).float().mean())


def main() -> None:
    torch.manual_seed(0)
    (x, y), test = (samples().samples(split) for split in ("train", "test"))
    model = network()
    init = {name: value.clone() for name, value in model.state_dict().items()}
    masks, accuracy = train(model, make_masks(model, 1.0, "random"), x, y, test, ACDC())
    print(f"AC/DC {accuracy:.3f}, λ_max {max_eigenvalue(model, cross_entropy, (x[:500], y[:500]), masks).value:.3f}")

    flips = flips_by_layer(init, model.state_dict(), masks)
    print({name: f"{count.flipped_share:.1%} flipped" for name, count in flips.items()})

    source = Source(init, model.state_dict(), masks)
    for cell in (Cell(signs="final"), Cell(signs="random", magnitudes="learned"), Cell(signs="random")):
        start = build_start(cell, source, network().state_dict(), seed=0)
        again = network()
        again.load_state_dict(start.state)
        print(f"{cell.label}: {train(again, start.masks, x, y, test)[1]:.3f}")

    with tempfile.TemporaryDirectory() as folder:
        torch.save(init, f"{folder}/init.pt")
        torch.save(model.state_dict(), f"{folder}/final.pt")
        masks.save(f"{folder}/masks.safetensors")
        named = ["--model", f"{OWN}:network", "--masks", f"{folder}/masks.safetensors"]
        files = ["--init", f"{folder}/init.pt", "--final", f"{folder}/final.pt"]
        settings = [
            "--cell",
            "signs=final",
            "--cell",
            "signs=random",
            "--seeds",
            "1",
            "--set",
            "epochs=2",
            f"data.name={OWN}:samples",
        ]
        signs = ["signs", f"{folder}/init.pt", f"{folder}/final.pt", *named]
        transplant = ["transplant", *files, *named, *settings, "--out", f"{folder}/out"]
        for command in (signs, transplant):
            subprocess.run([sys.executable, "-m", "sparse_training", *command], cwd=Path(__file__).parent, check=True)


if __name__ == "__main__":
    main()
