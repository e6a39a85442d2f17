"""`reproduce`: proofs, phase diagrams, problems, digits, and one report that holds the paper's claims to them.

This orders the work and names the files. A killed run goes on where it was.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.checks import number
from commons.cli import progress, wrote
from commons.files import read_json, unreadable, write_json, write_text
from commons.tables import aligned
from figures import disputes
from figures.bench import RUNGS, Arms, bench_findings
from figures.claims import Finding, merged
from figures.contents import proof_text, write_contents
from figures.experiments import Digits, Trained, cells
from figures.explorer import write_explorer
from figures.findings import (
    ACCURACY,
    FINAL_SIGNS,
    FLIPPED,
    SHARPNESS,
    flip_rows,
    geometry_finding,
    network_rows,
    phase_rows,
    summary_rows,
    theory_findings,
    training_findings,
    transplant_rows,
)
from figures.folder import SUMMARY, Folder
from figures.language import Language
from figures.stored import OF_MODELS
from figures.tables import Rows, read_table, write_table
from figures.theorems import FLOWS, diagram_file, flows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dynamics import PhaseDiagram
    from dynamics.results import Sweep

Diagrams = dict[str, "PhaseDiagram"]

TABLES = (
    *("claims", "phase", "geometry", "networks", "networks-summary", "flips"),
    *("fates", "fates-summary", "transplant", "transplant-summary"),
)
PROBLEMS = {"neurons": 512, "three-layer": 64, "digits-hard": 32}  # seeds
IN_REPORT = ("theorems", "geometry", *OF_MODELS)
PICTURES = [*IN_REPORT, *(f"phase-{diagram_file(name)}" for name in FLOWS)]
TABLE_SUFFIXES, PICTURE_SUFFIXES = ("csv", "md", "tex"), ("png", "pdf", "svg")
FILES = [
    *("proofs.json", "proofs.txt", "report.html", "explorer.html", SUMMARY),
    *(f"phase/{diagram_file(name)}.npz" for name in FLOWS),
    "phase/geometry.npz",
    *(f"problems/problem-{name}.{suffix}" for name in PROBLEMS for suffix in ("md", "csv", "json")),
    *(f"tables/{name}.{suffix}" for name in TABLES for suffix in TABLE_SUFFIXES),
    *(f"figures/{name}.{suffix}" for name in PICTURES for suffix in PICTURE_SUFFIXES),
    *(f"figures/{name}-single.svg" for name in IN_REPORT),
]


@dataclass(frozen=True)
class Settings:
    """What determines the result: the device, seeds a network, starts a side of the phase diagrams, and the bench.

    bench: the share of the usual 512, 64 and 32 seeds on which the problems are run.
    """

    device: str = "cpu"
    seeds: int = 5
    grid: int = 256
    bench: float = 1.0

    def __post_init__(self) -> None:
        number("bench", self.bench, above=0, at_most=1)
        number("seeds", self.seeds, at_least=3, integer=True)
        number("grid", self.grid, at_least=2, integer=True)


def reproduce(
    out: Path,
    settings: Settings,
    *,
    results: Path = Path("results"),
    force: bool = False,
    workers: int = 0,
) -> None:
    """Do everything that is not yet in `out` and write the report there.

    results: folder of kept results, from which the report takes what it says of language models; they are not trained
    here.

    Raises:
        InputError: out cannot be written to, holds a finished run and not `force`, or one with other settings; the
            device is not there; or results has a ledger on text that cannot be read.
    """
    from dynamics.trajectories import check_device

    check_device(settings.device)
    language = Language.read(results)
    digits = Digits(out, settings.device, settings.seeds, workers)
    folder = Folder(out, asdict(settings), force)
    digits.check()
    folder.add([*FILES, *_files(language), *digits.ledgers()], digits.folders())
    with progress() as bars:
        task = bars.add_task("proving", total=None)

        def advance(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        proofs = _prove(out / "proofs.json", advance)
        print(proof_text(proofs))
        diagrams = _integrate(out / "phase", settings.grid, settings.device, advance)
        geometry = _geometry(out / "phase" / "geometry.npz", advance)
        _solve(out / "problems", settings.bench, workers, advance)
        arms = digits.train_arms(advance)
        transplants = digits.transplant(advance)
        advance("drawing", 0, 1)
        findings, tables = _tabulate(out, diagrams, geometry, arms, transplants)
        _draw(out, diagrams, geometry)
        _keep(out, language)
    write_text(out / "proofs.txt", proof_text(proofs))
    solved = {f"problem-{name}": read_table(out / "problems" / f"problem-{name}.csv") for name in PROBLEMS}
    write_contents(out, asdict(settings), proofs, {**tables, **solved}, language)
    write_explorer(out / "explorer.html")
    print(aligned([finding.row() for finding in findings]))
    spoken = [finding.row() for finding in language.findings]
    if spoken:
        print(f"In language, from {results}:\n{aligned(spoken)}")
    found = {"findings": [finding.row() for finding in findings], "language": spoken}
    write_json(out / SUMMARY, {"settings": asdict(settings), **found})
    wrote(out / "report.html", out / "explorer.html", out / "figures", then=("figures", "list"))


def _prove(file: Path, advance: Callable[[str, int, int], object]) -> list[dict[str, Any]]:
    """Each theorem with its steps, proved once, and again if the file has other statements or steps."""
    from theory import THEOREMS

    claims = {f"{theorem.name}. {theorem.title}": [step.claim for step in theorem.steps] for theorem in THEOREMS}
    if file.exists():
        stored = read_json(file).get("theorems")
        if not isinstance(stored, list):
            unreadable(file, "it holds no theorems")
        if claims == {each["theorem"]: [step["claim"] for step in each["steps"]] for each in stored}:
            return stored
    proved = []
    for done, (theorem, title) in enumerate(zip(THEOREMS, claims, strict=True)):
        advance(f"proving {theorem.name}", done, len(THEOREMS))
        proof = theorem.prove()
        steps = [{"claim": step.claim, "holds": step.holds} for step in proof.steps]
        proved.append({"theorem": title, "proved": proof.holds, "steps": steps})
    write_json(file, {"theorems": proved})
    return proved


def _integrate(folder: Path, grid: int, device: str, advance: Callable[[str, int, int], object]) -> Diagrams:
    """The four phase diagrams, integrated once."""
    from dynamics import PhaseDiagram, phase_diagram

    folder.mkdir(exist_ok=True)
    diagrams = {}
    for done, (name, flow) in enumerate(flows().items()):
        advance(f"integrating {name}", done, len(FLOWS))
        file = folder / f"{diagram_file(name)}.npz"
        if not file.exists():
            phase_diagram(flow, grid=grid, device=device).save(file)
        diagrams[name] = PhaseDiagram.load(file)
    return diagrams


def _geometry(file: Path, advance: Callable[[str, int, int], object]) -> "Sweep":
    """How often each flow recovers random starts a < 0 < w, at its own and at matched speeds, integrated once."""
    from dynamics.geometry import geometry
    from dynamics.results import Sweep

    if not file.exists():
        advance("integrating random starts", 0, 1)
        geometry(count=128).save(file)
    return Sweep.load(file)


def _solve(folder: Path, share: float, workers: int, advance: Callable[[str, int, int], object]) -> None:
    """The arms of the problems that the claims speak of, each problem once, on a share of their usual seeds."""
    from sparse_training.problems import PROBLEMS as KINDS
    from sparse_training.problems import measure, write_report

    wanted = {rung.name: rung.arms for rung in RUNGS} | {"digits-hard": ("plain", "dense", *disputes.ARMS)}
    for name, seeds in PROBLEMS.items():
        if (folder / f"problem-{name}.json").exists():
            continue
        problem = KINDS[name]()
        measured = measure(
            problem,
            max(2, round(share * seeds)),
            max(1, round(share * problem.default_tuning_seeds)),
            only=wanted[name],
            workers=workers,
            progress=partial(advance, f"solving {name}"),
        )
        write_report(problem, measured, "python -m figures reproduce", folder)


def _tabulate(
    out: Path,
    diagrams: Diagrams,
    geometry: "Sweep",
    arms: Sequence[Trained],
    transplants: Sequence[dict[str, Any]],
) -> tuple[list[Finding], dict[str, Rows]]:
    from dynamics.geometry import table

    networks, flips, starts = network_rows(arms), flip_rows(arms), transplant_rows(transplants)
    fates = disputes.fate_rows(arms)
    random_starts = table(geometry, "Gaussian")
    findings = merged(
        [
            *theory_findings(diagrams),
            geometry_finding(random_starts),
            *bench_findings(out / "problems"),
            *training_findings(networks, flips, transplants, cells()),
            disputes.flips_finding(fates),
            disputes.normalization_finding(transplants, "final signs + learned mask"),
            disputes.permutation_finding(Arms(out / "problems" / "problem-digits-hard.json")),
        ]
    )
    tables: dict[str, Rows] = {
        "claims": [finding.row() for finding in findings],
        "phase": phase_rows(diagrams),
        "geometry": random_starts,
        "fates": fates,
        "fates-summary": summary_rows(fates, ("model", "arm", "weights"), disputes.SHARES),
        "networks": networks,
        "networks-summary": summary_rows(networks, ("model", "arm"), (ACCURACY, FLIPPED, SHARPNESS)),
        "flips": flips,
        "transplant": starts,
        "transplant-summary": summary_rows(starts, ("model", "start"), (FINAL_SIGNS, ACCURACY)),
    }
    (out / "tables").mkdir(exist_ok=True)
    for name, rows in tables.items():
        write_table(rows, out / "tables" / name)
    return findings, tables


def _draw(out: Path, diagrams: Diagrams, geometry: "Sweep") -> None:
    """The pictures, those of networks from the tables that were written; those of the report for phones too."""
    from figures.geometry import geometry_figure
    from figures.phase_diagrams import phase_figure, theorems_figure
    from figures.style import paper_style, save_figure

    folder = out / "figures"
    folder.mkdir(exist_ok=True)
    drawers: dict[str, Callable[[], Figure]] = {
        "theorems": lambda: theorems_figure(list(diagrams.values())),
        "geometry": lambda: geometry_figure(geometry),
        **{name: partial(kept.draw, kept.found(out)) for name, kept in OF_MODELS.items()},
    }
    _save_for_report(folder, lambda: ((name, draw()) for name, draw in drawers.items()))
    with paper_style():
        for name, diagram in diagrams.items():
            save_figure(phase_figure(diagram), folder / f"phase-{diagram_file(name)}")


def _save_for_report(folder: Path, drawn: "Callable[[], Iterable[tuple[str, Figure]]]") -> None:
    """Figures by name in every format, and for phones as SVG of one column. drawn: draws them in the style in force."""
    from figures.style import paper_style, save_figure

    with paper_style():
        for name, figure in drawn():
            save_figure(figure, folder / name)
    with paper_style("single"):
        for name, figure in drawn():
            save_figure(figure, folder / f"{name}-single", ("svg",))


def _files(language: Language) -> list[str]:
    """What `_keep` writes."""
    tables = [f"tables/{name}.{suffix}" for name in language.tables for suffix in TABLE_SUFFIXES]
    pictures = [f"figures/{name}.{suffix}" for name in language.sweeps for suffix in PICTURE_SUFFIXES]
    return tables + pictures + [f"figures/{name}-single.svg" for name in language.sweeps]


def _keep(out: Path, language: Language) -> None:
    """The tables and the pictures of runs on text, beside those of this reproduction."""
    for name, rows in language.tables.items():
        write_table(rows, out / "tables" / name)
    _save_for_report(out / "figures", lambda: language.drawn().items())
