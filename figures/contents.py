"""What the report of `reproduce` says and in which order; text that depends on results is computed from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figures.published import TABLES
from figures.report import Section, write_report
from figures.tables import Rows

SCOPE = """\
A verdict is computed from the numbers: a claim agrees or disagrees only where the whole 95 % interval lies on one \
side, and is not resolved otherwise. A start of a sparse run recovers its baseline where the interval lies within one \
point of it, and does not where it is below by a paired t test after Holm's correction. Counts of starts on a grid \
are exact and have no interval. Two experiments that are the same count once.

Digits are not ImageNet. The theorems are about one neuron and are tested here in full. Statements about training are \
tested on 1,437 images of 8x8 pixels and networks of up to 10⁵ weights: they can show a mechanism (signs flip, \
curvature changes), and cannot speak to accuracy on large data sets."""


def write_contents(
    out: Path, settings: Mapping[str, Any], proofs: list[dict[str, Any]], tables: Mapping[str, Rows]
) -> None:
    """Write out/report.html from the tables and the pictures in out/figures."""
    figures = out / "figures"
    phase = [
        (
            figures / f"phase-{diagram_file(row['flow'])}.png",
            f"{row['flow']}: {row['starts']} starts; integration and exact basin agree on {row['agreement']:.4%} of"
            " those farther than 1e-6 from the separatrix (black). Arrows: direction of the flow.",
        )
        for row in tables["phase"]
    ]
    models = list(dict.fromkeys(row["model"] for row in tables["networks"]))

    def drawn(kind: str, caption: str) -> list[tuple[Path, str]]:
        return [(figures / f"{kind}-{model}.png", f"{model}: {caption}") for model in models]

    seeds = f"{settings['seeds']} seeds"
    sections = [
        Section(
            "Claims",
            SCOPE,
            tables=[("", tables["claims"])],
        ),
        Section(
            "Theorems",
            f"{sum(p['proved'] for p in proofs)} of {len(proofs)} statements proved, each step decided by SymPy.",
            listings=[(f"{p['theorem']}: {_verb(p['proved'])}", _steps_text(p)) for p in proofs],
        ),
        Section("Phase diagrams", figures=phase, tables=[("Share of starts that recover", tables["phase"])]),
        Section(
            "Training from scratch at 90 % sparsity",
            figures=drawn("flips", f"share of active weights whose sign flipped, mean and 95 % interval over {seeds}."),
            tables=[(f"Mean ± 95 % interval over {seeds}", tables["networks-summary"])],
        ),
        Section(
            "Sign transplants",
            "Starts of a sparse run under the mask that gradual magnitude pruning of the dense network learned: 2 % of"
            " the mlp's weights, 5 % of the cnn's. At 10 % every start of digits does equally well.",
            figures=drawn("transplant", f"test accuracy of each start, {seeds} (dots), mean and 95 % interval."),
            tables=[(f"Mean ± 95 % interval over {seeds}", tables["transplant-summary"])],
        ),
        Section(
            "Maximum Hessian eigenvalue",
            "Power iteration on the active weights, evaluation mode, mean cross-entropy over all training images,"
            " without weight decay.",
            figures=drawn("sharpness", f"largest Hessian eigenvalue, {seeds} (dots), mean and 95 % interval."),
            tables=[("Every network with its residual ‖Hv − λv‖", tables["networks"])],
        ),
        Section(
            "Published numbers",
            tables=[
(f"{table.title}. {table.source}", table.as_rows()) for table in TABLES            ],
        ),
    ]  # fmt: skip
    introduction = (
        "The claims of Sign-In to the Lottery (NeurIPS 2025) about parameter signs in sparse training, held against"
        " exact theory, integrated flows, and networks trained on scikit-learn's digits"
        f" ({seeds} each, device {settings['device']})."
    )
    write_report(out / "report.html", "Parameter signs in sparse training", introduction, sections)


def proof_text(proofs: list[dict[str, Any]]) -> str:
    """Every theorem with its steps, as text."""
    return "".join(f"{p['theorem']}: {_verb(p['proved'])}\n{_steps_text(p)}" for p in proofs)


def _steps_text(proof: dict[str, Any]) -> str:
    return "".join(f"  {'ok ' if s['holds'] else 'NO '} {s['claim']}\n" for s in proof["steps"])


def _verb(proved: bool) -> str:
    return "proved" if proved else "NOT PROVED"


def diagram_file(name: str) -> str:
    """File name of a diagram called `Sign-In, beta1 > beta2` or the like."""
    words = name.lower().replace(",", "").replace(">", "above").replace("<", "below").replace("=", "equals")
    return words.replace(" ", "-")
