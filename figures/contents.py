"""What the report of `reproduce` says and in which order; text that depends on results is computed from them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from figures import shown
from figures.language import Language
from figures.published import TABLES
from figures.report import (
    Evidence,
    Numbers,
    Picture,
    Section,
    Table,
    claims_table,
    paragraphs,
    summary_strip,
    write_report,
)
from figures.statements import theorem_html
from figures.tables import Rows

RULES = """\
A verdict is computed from the numbers: a claim agrees or disagrees only where the whole 95 % interval lies on one \
side, and is not resolved otherwise. Of a claimed gain the sides are: nearer to the smallest gain of interest, or \
nearer to none. That gain is 2.5 % of relative loss for eight neurons, 5 % for three layers, and on digits the \
published one or a point. A start recovers its baseline where the interval lies within one point (or that gain) of it, \
and does not where it is below by a paired t test after Holm's correction. Counts of starts on a grid are exact and \
have no interval. Two experiments that are the same count once.

Experiments are rungs of a ladder: the single neuron, eight neurons with given masks, three layers, digits made hard, \
and digits by the mlp and the cnn. "rung" is the smallest one that decides a claim, or the largest that tested it \
where none does, and "elsewhere" is what the others say. A claim that no rung decides says with how many seeds one \
would find the published effect (where none is published in numbers, the one measured here) four times in five."""
CAN = (
    "The theorems are about one neuron, and are tested here in full: proved, integrated, and counted start by start.",
    "Networks of up to 10⁵ weights on 1,437 images of 8 × 8 pixels can show a mechanism: signs flip, curvature falls.",
)
CANNOT = (
    "Digits are not ImageNet: nothing here speaks to accuracy on large data sets.",
    "{seeds} seeds leave small differences unresolved. Not resolved is not zero, and not tested is not false.",
)
# What a claim rests on, by the first of these texts that it contains.
EVIDENCE = {
    "Theorem 5.1": Evidence("theorems", "phase", "python -m theory --theorem 5.1"),
    "Theorem 5.2": Evidence("theorems", "phase", "python -m theory --theorem 5.2"),
    "Theorem 5.4": Evidence("theorems", "phase", "python -m theory --theorem 5.4"),
    "layers that have its speeds": Evidence("geometry", "geometry", "python -m dynamics geometry"),
    "λ_max": Evidence("sharpness-{model}", "networks-summary", "python -m sparse_training sharpness RUN"),
    "flatter": Evidence("sharpness-{model}", "networks-summary", "python -m sparse_training sharpness RUN"),
    "flips": Evidence("flips-{model}", "networks-summary", "python -m sparse_training signs RUN"),
    "the output is further": Evidence("flips-{model}", "networks-summary", "python -m sparse_training signs RUN"),
    "flip": Evidence("flips-{model}", "fates-summary", "python -m sparse_training signs RUN"),
    "learned": Evidence("transplant-{model}", "transplant-summary", "python -m sparse_training transplant"),
    "signs suffice": Evidence("transplant-{model}", "transplant-summary", "python -m sparse_training transplant"),
    "": Evidence("", "networks-summary", "python -m sparse_training train --preset digits-{model}"),
}
PROBLEMS = {"neurons": "eight neurons", "three-layer": "three layers", "digits-hard": "digits made hard"}
OF_PROBLEMS = {
    "neurons": "A student of eight neurons has the mask of its teacher and learns by gradient descent on the population"
    " loss, from random weights and random signs.",
    "three-layer": "A student of three layers has the mask of its teacher and learns by SGD on fresh samples, from"
    " random weights and random signs.",
    "digits-hard": "Networks that keep 10 % of a small mlp's weights learn digits from 1,000 images, each seed with a"
    " split of its own. The gap is the one between plain and dense training.",
}
RELATIVE = " Relative loss is the loss at the end over that of a network that answers 0, and the gap is the one between"
RELATIVE += " plain training and true signs."


def evidence_of(row: Mapping[str, Any]) -> Evidence:
    """Where the numbers of a claim are; nothing for one that was not tested."""
    claim, rung = str(row["claim"]), str(row["rung"])
    if row["verdict"] == "not tested":
        return Evidence()
    if rung in PROBLEMS:
        return Evidence("", f"problem-{rung}", f"python -m sparse_training problem {rung}")
    found = next(evidence for words, evidence in EVIDENCE.items() if words in claim)
    model = rung.rpartition(" ")[2]
    return Evidence(*(part.replace("{model}", model) for part in (found.figure, found.table, found.command)))


def write_contents(
    out: Path,
    settings: Mapping[str, Any],
    proofs: list[dict[str, Any]],
    tables: Mapping[str, Rows],
    language: Language | None = None,
) -> None:
    """Write out/report.html from the tables, the pictures in out/figures, and what is kept of runs on text."""
    figures, kept = out / "figures", language or Language()
    before = [_theorems(proofs), *_measured(figures, settings, tables)]
    spoken, after = kept.section(figures), [_published()]
    numbers = Numbers.of([*before, spoken, *after])
    sections = [*before, replace(spoken, ready=kept.ready(numbers)), *after]
    claims = tables["claims"]
    sides = "".join(
        f"<div><h3>{head}</h3><ul>{''.join(f'<li>{text}</li>' for text in texts)}</ul></div>"
        for head, texts in (("What this size can say", CAN), ("What it cannot", CANNOT))
    ).replace("{seeds}", str(settings["seeds"]))
    ready = (
        summary_strip([row["verdict"] for row in claims])
        + f'<div class="says">{sides}</div>'
        + claims_table(claims, [evidence_of(row) for row in claims], numbers)
        + f"<details><summary>How a verdict is reached</summary>{paragraphs(RULES)}</details>"
    )
    introduction = (
        "The claims of Sign-In to the Lottery (NeurIPS 2025) about parameter signs in sparse training, held against"
        " exact theory, integrated flows, and networks trained on scikit-learn's digits"
        f" ({settings['seeds']} seeds each, device {settings['device']})."
    )
    title = "Parameter signs in sparse training"
    write_report(out / "report.html", title, introduction, [Section("Claims", ready=ready), *sections])


def _theorems(proofs: list[dict[str, Any]]) -> Section:
    proved = sum(proof["proved"] for proof in proofs)
    return Section(
        "Theorems",
        f"{proved} of {len(proofs)} statements are proved, each step decided by SymPy. The paper writes β₁ for β_a and"
        " β₂ for β_w. Every statement stands beside the wording of the paper, where it has one, and what differs.",
        ready=theorem_html(proofs),
    )


def _measured(figures: Path, settings: Mapping[str, Any], tables: Mapping[str, Rows]) -> list[Section]:
    return [
        *_neuron(figures, tables),
        *[_problem(rung, name, tables[f"problem-{name}"]) for rung, name in enumerate(PROBLEMS, start=1)],
        *_networks(figures, settings, tables),
    ]


def _neuron(figures: Path, tables: Mapping[str, Rows]) -> list[Section]:
    """The single neuron: where its flows end."""
    agreement = min(row["agreement"] for row in tables["phase"])
    starts = tables["phase"][0]["starts"]
    theorems = Picture(
        "theorems",
        figures / "theorems.svg",
        f"Where gradient flow of one neuron ends, from {starts:,} starts (a₀, w₀) each. Percentages: the share of each"
        " quadrant that recovers the teacher. Thick line: the exact separatrix; integration and exact basin agree on"
        f" {100 * agreement:.6g} % of the starts farther than 10⁻⁶ from it. Hatched: stuck. Arrows: direction of the"
        " flow.",
        "python -m figures theorems",
    )
    return [
        Section(
            "Phase diagrams",
            figures=[theorems],
            tables=[Table("phase", "Share of starts that recover, by quadrant", shown.phases(tables["phase"]))],
        ),
        Section(
            "Geometry and speed",
            "A flow whose layers move at different speeds decides some starts by that alone. So each is integrated from"
            " random starts a < 0 < w at its own speeds, and with a learning rate a layer that makes its mean speeds"
            " equal.",
            figures=[Picture("geometry", figures / "geometry.svg", "Share of the starts that recover, over their scale,"
                             " with 95 % intervals.", "python -m figures geometry phase/geometry.npz")],
            tables=[Table("geometry", "Share of Gaussian starts of scale 1 that recover", tables["geometry"])],
        ),
    ]  # fmt: skip


def _networks(figures: Path, settings: Mapping[str, Any], tables: Mapping[str, Rows]) -> list[Section]:
    """Networks on digits: flips, transplants and sharpness."""
    models = list(dict.fromkeys(row["model"] for row in tables["networks"]))
    seeds = f"{settings['seeds']} seeds"

    def drawn(kind: str, caption: str) -> list[Picture]:
        return [
            Picture(
                f"{kind}-{model}", figures / f"{kind}-{model}.svg", f"{model}: {caption}",
                f"python -m figures {kind}-{model}",
            )
            for model in models
        ]  # fmt: skip

    return [
        Section(
            "Training from scratch at 90 % sparsity",
            figures=drawn("flips", f"share of active weights whose sign flipped, mean and 95 % interval over {seeds}."),
            tables=[
                Table(
                    "networks-summary",
                    f"Mean ± 95 % interval over {seeds}",
                    shown.summaries(tables["networks-summary"]),
                ),
                Table(
                    "fates-summary",
                    "Flips by the magnitude that a weight began with: raw ones, those of weights that are not small at"
                    " either end, and those that have kept their new sign for half of training",
                    shown.summaries(tables["fates-summary"]),
                    folded=True,
                ),
            ],
        ),
        Section(
            "Sign transplants",
            "Starts of a sparse run under the mask that gradual magnitude pruning of the dense network learned: 2 % of"
            " the mlp's weights, 5 % of the cnn's. At 10 % every start of digits does equally well.",
            figures=drawn("transplant", f"test accuracy of each start, {seeds} (dots), and its paired difference from"
                          " the source, with 95 % intervals."),
            tables=[
                Table(
                    "transplant-summary",
                    f"Mean ± 95 % interval over {seeds}",
                    shown.summaries(tables["transplant-summary"]),
                )
            ],
        ),
        Section(
            "Maximum Hessian eigenvalue",
            "Power iteration on the active weights, evaluation mode, mean cross-entropy over all training images,"
            " without weight decay.",
            figures=drawn("sharpness", f"largest Hessian eigenvalue, {seeds} (dots), mean and 95 % interval."),
            tables=[Table("networks", "Every network with its residual ‖Hv − λv‖", tables["networks"], folded=True)],
        ),
    ]  # fmt: skip


def _problem(rung: int, name: str, rows: Rows) -> Section:
    """A problem's arms beside plain; problems/problem-NAME.md has all of its tables."""
    found = shown.arms(rows)
    metric = list(found[0])[2]
    title = (
        f"The {metric} of each arm and its difference from plain, seed by seed, with 95 % intervals; less is better."
        f" p after Holm's correction. All columns and further tables: problems/problem-{name}.md"
    )
    text = OF_PROBLEMS[name] + (RELATIVE if metric == "relative loss" else "")
    text += " Learning rates were tuned for each arm on other seeds."
    return Section(f"Rung {rung}: {PROBLEMS[name]}", text, tables=[Table(f"problem-{name}", title, found)])


def _published() -> Section:
    tables = [
        Table(f"published-{i}", f"{table.title}. {table.source}", shown.published(table))
        for i, table in enumerate(TABLES)
    ]
    return Section("Published numbers", "Top-1 accuracy in percent, as the papers give it.", tables=tables)


def proof_text(proofs: list[dict[str, Any]]) -> str:
    """Every theorem with its steps, as text."""
    return "".join(
        f"{proof['theorem']}: {'proved' if proof['proved'] else 'NOT PROVED'}\n"
        + "".join(f"  {'ok ' if step['holds'] else 'NO '} {step['claim']}\n" for step in proof["steps"])
        for proof in proofs
    )
