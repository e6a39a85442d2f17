"""The papers' published numbers, each table with its source; reference data that experiments are held against.

Nothing here was measured by this project.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SIGN_IN = "Gadhikar, Jacobs, Zhou, Burkholz: Sign-In to the Lottery (NeurIPS 2025, arXiv:2504.12801)"
HAM = "Hyperbolic Aware Minimization (ICLR 2026, arXiv:2506.02630)"


@dataclass(frozen=True)
class Table:
    """A published table: rows[name] holds a top-1 accuracy (%, mean) for each column."""

    title: str
    source: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]

    def value(self, row: str, column: str) -> float:
        return self.rows[row][self.columns.index(column)]

    def as_rows(self) -> list[dict[str, str | float]]:
        """One mapping a row, its name first."""
        return [{"": name, **dict(zip(self.columns, values, strict=True))} for name, values in self.rows.items()]


SPARSITIES = ("80 %", "90 %", "95 %")

RANDOM_MASK = Table(
    title="Training from scratch under a random mask, without and with Sign-In",
    source=SIGN_IN,
    columns=SPARSITIES,
    rows={
        "CIFAR-10, ResNet-20, random": (88.25, 86.25, 83.56),
        "CIFAR-10, ResNet-20, random + Sign-In": (89.37, 87.83, 84.74),
        "CIFAR-100, ResNet-18, random": (73.95, 72.96, 71.36),
        "CIFAR-100, ResNet-18, random + Sign-In": (75.32, 73.94, 72.51),
        "ImageNet, ResNet-50, random": (73.87, 71.56, 68.72),
        "ImageNet, ResNet-50, random + Sign-In": (74.12, 72.19, 69.38),
    },
)

SIGN_ALIGNMENT = Table(
    title="Start of the sparse run: ResNet-50, ImageNet, 90 % sparse",
    source=SIGN_IN,
    columns=("AC/DC", "STR", "RiGL"),
    rows={
        "baseline (the method itself)": (74.68, 73.65, 73.75),
        "signs of epoch 10 + learned mask": (73.97, 71.7, 73.32),
        "signs of epoch 30 + learned mask": (74.89, 73.91, 73.7),
        "final signs + learned mask": (74.88, 73.77, 73.74),
        "final magnitudes + learned mask": (70.94, 68.35, 72.40),
        "random init + learned mask": (70.6, 68.38, 71.89),
    },
)

IMAGENET_METHODS = Table(
    title="ResNet-50, ImageNet: sparse training methods and what reparametrization adds",
    source=HAM,
    columns=SPARSITIES,
    rows={
        "random + HAM": (74.84, 72.72, 70.05),
        "AC/DC": (75.83, 74.75, 72.59),
        "AC/DC + Sign-In": (75.90, 74.74, 72.88),
        "AC/DC + HAM": (77.20, 76.66, 75.45),
        "RiGL": (75.02, 73.70, 71.89),
        "RiGL + Sign-In": (75.02, 74.27, 73.07),
        "RiGL + HAM": (76.22, 74.83, 72.93),
        "spred": (72.64, 71.84, 69.47),
        "PILoT": (75.62, 74.73, 71.30),
        "STR": (75.49, 72.40, 64.94),
        "STR + HAM": (76.37, 75.01, 71.41),
    },
)

SETTINGS = tuple(dict.fromkeys(name.rsplit(", ", 1)[0] for name in RANDOM_MASK.rows))  # data and network

TABLES = (RANDOM_MASK, SIGN_ALIGNMENT, IMAGENET_METHODS)


def sign_alignment(start: str, reference: str = "baseline (the method itself)") -> str:
    """What the paper gives for AC/DC: a start beside another."""
    own, other = (SIGN_ALIGNMENT.value(row, "AC/DC") for row in (start, reference))
    return f"AC/DC: {own:.2f} against {other:.2f}"
