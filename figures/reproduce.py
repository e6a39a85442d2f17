"""`reproduce`: proofs, phase diagrams, the digits experiments, and one report that holds the paper's claims to them.

It orders the work and names the files; every number is another room's. A killed run goes on where it was.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons import InputError, number
from commons.cli import progress
from commons.files import output_directory, write_json, write_text
from commons.tables import aligned
from figures.claims import Finding
from figures.contents import diagram_file, proof_text, write_contents
from figures.findings import (
    flip_rows,
    network_rows,
    phase_rows,
    summary_rows,
    theory_findings,
    training_findings,
    transplant_rows,
)
from figures.tables import Rows, write_table

if TYPE_CHECKING:
    from dynamics import PhaseDiagram
    from figures.experiments import Trained

Diagrams = dict[str, "PhaseDiagram"]
Tell = Callable[[str], object]


@dataclass(frozen=True)
class Settings:
    """What determines the result: the device, seeds a network, and starts a side of the phase diagrams."""

    device: str = "cpu"
    seeds: int = 5
    grid: int = 256

    def __post_init__(self) -> None:
        number("seeds", self.seeds, at_least=3, integer=True)
        number("grid", self.grid, at_least=2, integer=True)


def reproduce(out: Path, settings: Settings, *, force: bool = False, workers: int = 0, tell: Tell = print) -> None:
    """Do everything that is not yet in `out` and write the report there.

    Raises:
        InputError: out cannot be written to, holds a finished run and not `force`, or one with other settings; or the
            device is not there.
    """
    from dynamics.trajectories import check_device

    check_device(settings.device)
    _open(out, settings, force)
    with progress() as bars:
        task = bars.add_task("proving", total=None)

        def advance(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        proofs = _prove(out / "proofs.json", advance)
        tell(proof_text(proofs))
        diagrams = _integrate(out / "phase", settings.grid, settings.device, advance)
        from figures.experiments import run_all

        arms, transplants = run_all(out, settings.seeds, settings.device, workers, advance)
        advance("drawing", 0, 1)
        findings, tables = _tabulate(out, diagrams, arms, transplants)
        _draw(out / "figures", diagrams, tables)
    write_text(out / "proofs.txt", proof_text(proofs))
    write_contents(out, asdict(settings), proofs, tables)
    tell(aligned([finding.row() for finding in findings]))
    write_json(out / "summary.json", {"settings": asdict(settings), "findings": [f.row() for f in findings]})
    tell(f"report: {out / 'report.html'}")


def _open(out: Path, settings: Settings, force: bool) -> None:
    """Make or take up the folder; only a folder that an earlier run has marked is ever emptied."""
    output_directory("--out", out)
    marker = out / "settings.json"
    content: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else {}
    if force and content:
        shutil.rmtree(out)
        output_directory("--out", out)
    elif (out / "summary.json").exists():
        raise InputError(f"--out={str(out)!r} holds a finished run; pass --force to replace it, or another folder")
    elif content and content != asdict(settings):
        raise InputError(f"--out={str(out)!r} holds an unfinished run with {content}; pass these, or --force")
    elif not content and any(out.iterdir()):
        raise InputError(f"--out={str(out)!r} holds files that are not of a reproduction; name an empty or new folder")
    write_json(marker, asdict(settings))


def _prove(file: Path, advance: Callable[[str, int, int], object]) -> list[dict[str, Any]]:
    """Each theorem with its steps, proved once."""
    if not file.exists():
        from theory import THEOREMS

        proved = []
        for done, theorem in enumerate(THEOREMS):
            advance(f"proving {theorem.name}", done, len(THEOREMS))
            proof = theorem.prove()
            steps = [{"claim": step.claim, "holds": step.holds} for step in proof.steps]
            proved.append({"theorem": f"{theorem.name}. {theorem.title}", "proved": proof.holds, "steps": steps})
        write_json(file, proved)
    content: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _integrate(folder: Path, grid: int, device: str, advance: Callable[[str, int, int], object]) -> Diagrams:
    """The four phase diagrams, integrated once."""
    from dynamics import PhaseDiagram, phase_diagram
    from theory import SignIn, Standard

    flows = {
        "standard": Standard(),
        "Sign-In, beta1 > beta2": SignIn(1.0, 0.25),
        "Sign-In, beta1 = beta2": SignIn(1.0, 1.0),
        "Sign-In, beta1 < beta2": SignIn(0.25, 1.0),
    }
    folder.mkdir(exist_ok=True)
    diagrams = {}
    for done, (name, flow) in enumerate(flows.items()):
        advance(f"integrating {name}", done, len(flows))
        file = folder / f"{diagram_file(name)}.npz"
        if not file.exists():
            phase_diagram(flow, grid=grid, device=device).save(file)
        diagrams[name] = PhaseDiagram.load(file)
    return diagrams


def _tabulate(
    out: Path, diagrams: Diagrams, arms: Sequence["Trained"], transplants: Sequence["Trained"]
) -> tuple[list[Finding], dict[str, Rows]]:
    networks, flips, starts = network_rows(arms), flip_rows(arms), transplant_rows(transplants)
    columns = ("test accuracy (%)", "flipped since init (%)", "largest Hessian eigenvalue")
    findings = theory_findings(diagrams) + training_findings(networks, flips, starts)
    tables: dict[str, Rows] = {
        "claims": [finding.row() for finding in findings],
        "phase": phase_rows(diagrams),
        "networks": networks,
        "networks-summary": summary_rows(networks, ("model", "arm"), columns),
        "flips": flips,
        "transplant": starts,
        "transplant-summary": summary_rows(
            starts, ("model", "start"), ("signs as at the end of the source (%)", columns[0])
        ),
    }
    (out / "tables").mkdir(exist_ok=True)
    for name, rows in tables.items():
        write_table(rows, out / "tables" / name)
    return findings, tables


def _draw(folder: Path, diagrams: Diagrams, tables: dict[str, Rows]) -> None:
    from figures.phase_diagrams import phase_figure
    from figures.sharpness import sharpness_figure
    from figures.signs import flips_figure
    from figures.style import paper_style, save_figure
    from figures.transplant import transplant_figure

    folder.mkdir(exist_ok=True)
    with paper_style():
        for name, diagram in diagrams.items():
            save_figure(phase_figure(diagram), folder / f"phase-{diagram_file(name)}")
        for model in dict.fromkeys(row["model"] for row in tables["networks"]):
            networks, flips, starts = (
                [row for row in tables[name] if row["model"] == model] for name in ("networks", "flips", "transplant")
            )
            save_figure(flips_figure(flips), folder / f"flips-{model}")
            save_figure(sharpness_figure(networks), folder / f"sharpness-{model}")
            save_figure(transplant_figure(starts), folder / f"transplant-{model}")
