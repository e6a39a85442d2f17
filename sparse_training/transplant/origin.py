"""From the run of a source to the start of another run: which signs it offers, and the file that the other begins with.

A worker makes the file once; it is made anew where it is damaged or belongs to another run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from commons.checks import InputError
from sparse_training import models
from sparse_training.masks import Masks, make_masks, score_and_distribution, usual_distribution
from sparse_training.runs.checkpoint import load_network, save_network
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.runs.toml import from_toml
from sparse_training.seeding import derive
from sparse_training.signs import SignHistory, agreement
from sparse_training.training.loop import NonFiniteError
from sparse_training.training.many import train_one
from sparse_training.transplant.cell import Cell
from sparse_training.transplant.start import Source, Start, Weights, build_start


@dataclass(frozen=True)
class Origin:
    """The run that another one starts from, and what that one takes of it.

    source: its address. folder: where it lies. toml: its complete configuration. given: whether it was there before the
    sweep, which then never trains it. taken, beside: `start` and `beside` of the `Treatment`.
    """

    source: str
    folder: str
    toml: str
    given: bool
    taken: Cell
    beside: tuple[Cell, ...] = ()


def address_of_given(folder: Path) -> str:
    """What stands for a finished run that was not made by a sweep in the addresses of those that start from it."""
    return Run(folder).network().digest()


def determined(cell: Cell, address_of: Callable[[Path], str] = address_of_given) -> tuple[str, str, str, str]:
    """The choices of a cell with the network of the run that they may name instead of where it lies."""
    mask, signs, magnitudes, rest = cell.choices
    return mask, f"run:{address_of(Path(cell.other_run))}" if cell.other_run else signs, magnitudes, rest


def start_file(folder: Path) -> Path:
    """Where the start of the run in this folder is kept."""
    return folder.with_name(f"{folder.name}.start.safetensors")


def make_start(origin: Origin, address: str, folder: Path) -> Path:
    """The file with which a run begins, made from its source, which is trained first if it is not there.

    address, folder: of the run that begins.

    Raises:
        InputError: the source cannot be trained, or it diverges.
    """
    source, path = _source(origin), start_file(folder)
    if not _is_of(path, address):
        write_start(origin.taken, source, path, address=address)
    return path


def told_of_start(origin: Origin, folder: Path) -> dict[str, Any]:
    """What the ledger says of the start of the run in a folder.

    The numbers of signs and magnitudes that were drawn anew; `final_signs`, the share of the active weights whose sign
    is the source's last one; and `differs`, the share whose sign is another in the start of each cell beside it.
    """
    source, start = _source(origin), load_network(start_file(folder))
    last = source.network()
    told = {key: start.info[key] for key in ("redrawn_signs", "redrawn_magnitudes")}
    told["final_signs"] = agreement(start.weights(), last.weights(), start.masks, last.masks)
    differs = {
        cell.text: 1 - agreement(start.weights(), other.state, start.masks, other.masks)
        for cell, other in zip(origin.beside, starts_of(origin.beside, source), strict=True)
    }
    return {"source": origin.source, "taken": origin.taken.text, **told, **({"differs": differs} if differs else {})}


def write_start(cell: Cell, run: Run, path: Path, **info: str) -> None:
    """Save the start of a cell as a network that `start` of a configuration can name.

    info: what is to be saved with it besides the numbers of signs and magnitudes that were redrawn.
    """
    (start,) = starts_of([cell], run)
    counts: dict[str, Any] = {"redrawn_signs": start.redrawn_signs, "redrawn_magnitudes": start.redrawn_magnitudes}
    save_network(path, start.state, start.masks, **counts, **info)


def starts_of(cells: Sequence[Cell], run: Run) -> Iterator[Start]:
    """The start of each cell from a finished run, whose networks are read once."""
    if not cells:
        return
    first, last, config = run.network(0), run.network(), run.config
    assert last.masks is not None
    fresh = models.build(config.model, **last.info["inputs"], seed=derive(config.seed, "transplant"))
    source = Source(first.state, last.state, last.masks, lambda epoch: signs_at(run, epoch))
    scored: dict[str, Masks | None] = {}
    for cell in cells:
        if cell.mask not in scored:
            scored[cell.mask] = _scored(cell, config, fresh, last.masks)
        yield build_start(
            cell,
            source,
            fresh.state_dict(),
            derive(config.seed, "cell"),
            masks=scored[cell.mask],
            other=Run(cell.other_run).network().state if cell.other_run else None,
        )


def signs_at(run: Run, epoch: int) -> Weights:
    """Signs of a run at an epoch, from the history, which has every epoch, or else from the saved network."""
    history = _history(run)
    return history.signs(epoch) if history and epoch in history.epochs else run.network(epoch).state


def recorded(run: Run) -> list[int]:
    """The epochs whose signs a finished run has, ascending."""
    history = _history(run)
    return sorted({*run.epochs, *(history.epochs if history else ())})


def _history(run: Run) -> SignHistory | None:
    return SignHistory(run.signs_file) if run.signs_file.exists() else None


def _source(origin: Origin) -> Run:
    """The finished run that a job starts from."""
    folder, config = Path(origin.folder), Config.from_tree(from_toml(origin.toml, origin.source))
    if not origin.given and not (folder / "summary.json").exists():
        try:
            train_one(config, folder)
        except NonFiniteError as error:
            raise InputError(f"the run that it starts from diverges: {error}") from None
    return Run(folder, config.code)


def _is_of(path: Path, address: str) -> bool:
    """Whether the saved start is whole and that of the run with this address."""
    try:
        return bool(load_network(path).info.get("address") == address)
    except InputError:
        return False


def _scored(cell: Cell, config: Config, model: nn.Module, learned: Masks) -> Masks | None:
    """Masks of a cell whose mask is a score, on the freshly drawn network, at the density of the learned ones."""
    if cell.mask in ("learned", "shuffled"):
        return None
    score, distribution = score_and_distribution(cell.mask)
    data = config.data.load(augment=False)
    batch = data.samples("train", min(config.mask.samples, data.n_train), config.seed)
    return make_masks(
        model,
        learned.density,
        score,
        distribution or usual_distribution(score),
        batch=batch,
        seed=config.seed,
        include=config.mask.include,
        exclude=config.mask.exclude,
    )
