"""A sweep's accuracies beside the published ones of the same arm and sparsity, as the table of an article."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.checks import choice
from figures.published import IMAGENET_METHODS, RANDOM_MASK, SETTINGS, Table
from figures.tables import Rows

if TYPE_CHECKING:
    from sparse_training.sweeps.table import Comparison

MODELS = {"resnet20": "ResNet-20", "resnet18": "ResNet-18", "resnet50": "ResNet-50"}
DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
METHODS = {"acdc": "AC/DC", "rigl": "RiGL", "str": "STR"}
REPARAMS = {"sign-in": "Sign-In", "ham": "HAM"}


def beside_published(path: Path, sweep: str = "", setting: str = "") -> Rows:
    """A row for each arm of a sweep: n, mean ± half of its 95 % interval, paired difference, published value, source.

    Where runs diverged it says how many did, and where a difference is over fewer seeds than the mean, over how many.

    path: a ledger.   sweep: which one, if it has several.   setting: published network and data to set beside all arms,
    such as "CIFAR-10, ResNet-20"; otherwise those of the runs, if numbers for them were published.

    Raises:
        InputError: the file is no ledger with such a sweep, or nothing was published for the setting.
    """
    from sparse_training.sweeps import Ledger
    from sparse_training.sweeps.table import compare, header_of, rows_of

    if setting:
        choice("published", setting, SETTINGS)
    ledger = Ledger(path)
    header = header_of(ledger, sweep)
    metric, minus = header["metric"], f"minus {header['against']}"
    comparisons = compare(ledger, header["sweep"])
    rows = []
    for each, row in zip(comparisons, rows_of(comparisons, header), strict=True):
        told_of = ("arm", *each.point, "n", metric, "diverged", minus, "pairs")
        shown = {key: row[key] for key in told_of if key in row}
        told = _published(each, setting) if metric == "test_accuracy" else None
        rows.append({**shown, "published": told and told[0], "source": told and told[1]})
    return rows


def _published(arm: "Comparison", setting: str) -> tuple[float, str] | None:
    """The published accuracy of what an arm does, and where it stands; None where there is none."""
    settings: Mapping[str, Any] = next(iter(arm.records.values()))["settings"]
    where = setting or f"{DATA.get(settings['data']['name'])}, {MODELS.get(settings['model'])}"
    given = {key: settings.get(key) or {} for key in ("method", "reparam", "scaling")}
    known = [METHODS.get(given["method"].get("name", "")), REPARAMS.get(given["reparam"].get("name", ""))]
    untold = sum(bool(value) for value in given.values()) > sum(name is not None for name in known)
    if untold or any(len(value) > 1 for value in given.values()):  # another method, or settings that are not the usual
        return None
    method, reparam = known
    name = " + ".join(part for part in (method or "random", reparam) if part)
    tables: list[tuple[Table, str]] = [(RANDOM_MASK, f"{where}, {name}")]
    tables += [(IMAGENET_METHODS, name)] if where == "ImageNet, ResNet-50" else []
    column = f"{100 * (1 - settings.get('mask', {}).get('density', 1.0)):.3g} %"
    for table, row in tables:
        if row in table.rows and column in table.columns:
            return table.value(row, column), table.source
    return None
