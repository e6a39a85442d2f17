"""What the digits experiments and the phase diagrams say: rows for tables, and a verdict on each claim of the paper."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from commons.statistics import Interval, mean_interval, paired_interval
from commons.verdicts import Verdict, above, below, every
from dynamics.comparison import QUADRANTS
from figures import claims
from figures.claims import Answer, Finding, gain_of, needed
from figures.experiments import Trained
from figures.phase_diagrams import recovered_by_quadrant
from figures.published import RANDOM_MASK, SIGN_ALIGNMENT, sign_alignment

if TYPE_CHECKING:
    from dynamics import PhaseDiagram
    from sparse_training.transplant import Cell

Row = dict[str, Any]
Judge = Callable[[Interval], Verdict]
ACCURACY, FLIPPED, SHARPNESS = "test accuracy (%)", "flipped since init (%)", "largest Hessian eigenvalue"
FINAL_SIGNS = "signs as at the end of the source (%)"
MARGIN = 1.0  # points of accuracy below the baseline that still count as recovering it


def network_rows(trained: Sequence[Trained]) -> list[Row]:
    """One row a trained arm: accuracies, flips since init over the active weights, maximum Hessian eigenvalue."""
    from sparse_training.runs.run import Run
    from sparse_training.sharpness.of_run import largest_of_run
    from sparse_training.signs import flips_by_layer, total

    rows = []
    for network in trained:
        run, curvature = Run(network.path), largest_of_run(network.path)
        flips = total(flips_by_layer(run.weights(0), run.weights(), run.masks()).values())
        rows.append(
            {
                "model": network.model,
                "arm": network.arm,
                "seed": network.seed,
                "density": run.summary["density"],
                ACCURACY: run.summary["test_accuracy"],
                FLIPPED: 100 * flips.flipped_share,
                SHARPNESS: curvature["value"],
                "residual": curvature["residual"],
                "products": curvature["hvps"],
                "converged": curvature["converged"],
            }
        )
    return rows


def flip_rows(trained: Sequence[Trained]) -> list[Row]:
    """One row a network, epoch and layer ("total" for all), with the shares that `signs` writes to RUN/signs.csv."""
    from sparse_training.signs import flip_table, history_of

    rows: list[Row] = []
    for network in trained:
        table = flip_table(history_of(network.path))
        own = {"model": network.model, "arm": network.arm, "seed": network.seed}
        for counts in sorted((*table.rows, *table.totals()), key=lambda counts: counts.epoch):
            shares = counts.row()
            rows.append(own | {key: shares[key] for key in ("epoch", "layer", "since_init", "since_previous")})
    return rows


def transplant_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of `run_cells` for a table, with shares in percent."""
    return [
        {
            "model": row["source"],
            "start": row["start"],
            "seed": row["seed"],
            FINAL_SIGNS: 100 * row["final_signs"],
            ACCURACY: row["accuracy"],
            "same as": row["same_as"] or None,
        }
        for row in rows
    ]


def summary_rows(rows: Sequence[Row], by: Sequence[str], columns: Sequence[str]) -> list[Row]:
    """Rows gathered by the columns `by`, each of `columns` as mean ± 95 % interval over seeds."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    return [
        dict(zip(by, key, strict=True))
        | {column: str(mean_interval([row[column] for row in group])) for column in columns}
        for key, group in groups.items()
    ]


def phase_rows(diagrams: Mapping[str, "PhaseDiagram"]) -> list[Row]:
    """One row a flow: the share of starts that recover in each quadrant, and agreement with the exact basin."""
    rows = []
    for name, diagram in diagrams.items():
        shares = {quadrant: f"{k / n:.4f}" for quadrant, (k, n) in recovered_by_quadrant(diagram).items()}
        rows.append({"flow": name, **shares, "starts": diagram.outcome.size, "agreement": diagram.agreement})
    return rows


def theory_findings(diagrams: Mapping[str, "PhaseDiagram"]) -> list[Finding]:
    """Theorems 5.1, 5.2 and 5.4 against the integrated starts of the diagrams `standard` and `sign-in, β₁ > β₂`."""
    standard, sign_in = diagrams["standard"], diagrams["Sign-In, beta_a > beta_w"]
    first, second = "recovers only from a, w > 0", "β₁ > β₂: recovers also from a < 0 < w"
    findings = []
    for text, published, diagram, balanced, wanted in (
        ("Theorem 5.1, standard flow, balanced starts |a| = |w|", first, standard, True, (1, 0, 0, 0)),
        ("Theorem 5.1, standard flow, any starts", first, standard, False, (1, 0, 0, 0)),
        ("Theorem 5.2, Sign-In, balanced starts |a| = |w|", second, sign_in, True, (1, 1, 0, 0)),
        ("Theorem 5.2, Sign-In, any starts", second, sign_in, False, (1, 1, 0, 0)),
    ):
        counts = list(recovered_by_quadrant(diagram, balanced).values())
        as_claimed = sum(k if want else n - k for (k, n), want in zip(counts, wanted, strict=True))
        findings.append(_counted(text, published, as_claimed, sum(n for _, n in counts)))
    below_zero = [recovered_by_quadrant(diagram)[name] for diagram in diagrams.values() for name in list(QUADRANTS)[2:]]
    failed, starts = sum(n - k for k, n in below_zero), sum(n for _, n in below_zero)
    text = "Theorem 5.4, all four flows, starts with w < 0"
    return [*findings, _counted(text, "none recovers", failed, starts)]


def geometry_finding(shares: Sequence[Row]) -> Finding:
    """Theorem 5.2's flow beside plain flow at its layers' speeds, from the rows of `dynamics.geometry.table`."""
    recovered = {row["flow"]: row["own speeds, exact"] for row in shares}
    sign_in, rates = (next(v for k, v in recovered.items() if k.startswith(name)) for name in ("Sign-In, β_a", "layer"))
    verdict = Verdict.AGREES if sign_in > rates else Verdict.DISAGREES
    measured = (
        f"of random starts a < 0 < w recover {100 * sign_in:.1f} % with Sign-In (1, 0.25),"
        f" {100 * rates:.1f} % with layer rates"
    )
    return Finding(claims.GEOMETRY, "–", (Answer("single neuron", measured, verdict),))


def _counted(claim: str, published: str, as_claimed: int, starts: int) -> Finding:
    """A claim about every start of a grid. The count is exact and the grid is not drawn, so it has no interval."""
    share = f" ({100 * as_claimed / starts:.2f} %)" if starts else ""
    measured = f"{as_claimed:,} of {starts:,} starts of the grid{share}"
    return Finding(claim, published, (Answer("single neuron", measured, every(as_claimed, starts)),))


def training_findings(
    networks: Sequence[Row], flips: Sequence[Row], transplants: Sequence[Row], cells: "Sequence[Cell]"
) -> list[Finding]:
    """The paper's statements about training, held against each model's seeds, paired seed by seed.

    transplants: rows of `run_cells` for these cells.
    """
    models = list(dict.fromkeys(row["model"] for row in networks))
    findings = [finding for model in models for finding in _arm_findings(model, networks, flips)]
    return [*findings, *_transplant_findings(transplants, cells), *_untested()]


def by_seed(rows: Iterable[Mapping[str, Any]], column: str, **where: str) -> list[float]:
    """The column of the rows that match, in the order of their seeds; pairs rows of two arms one by one."""
    matching = [row for row in rows if all(row[key] == value for key, value in where.items())]
    return [float(row[column]) for row in sorted(matching, key=lambda row: int(row["seed"]))]


def _arm_findings(model: str, networks: Sequence[Row], flips: Sequence[Row]) -> list[Finding]:
    rung = f"digits, {model}"

    def pairs(column: str, arm: str, reference: str) -> tuple[list[float], list[float]]:
        first, second = (by_seed(networks, column, model=model, arm=name) for name in (arm, reference))
        return first, second

    def held(claim: str, first: list[float], second: list[float], unit: str, judge: Judge, note: str = "") -> Finding:
        difference = paired_interval(first, second)
        missing = needed(np.subtract(first, second))
        return Finding(
            claim, claims.IN_WORDS, (Answer(rung, difference.signed(unit) + note, judge(difference), missing),)
        )

    before, after = (RANDOM_MASK.value(f"CIFAR-10, ResNet-20, {arm}", "90 %") for arm in ("random", "random + Sign-In"))
    own, plain = ([row for row in flips if (row["model"], row["arm"]) == (model, arm)] for arm in ("sign-in", "random"))
    ahead, other = output_ahead(own), output_ahead(plain)
    by_layer = [f"; by layer {layer_means(own)}", f"; plain by layer {layer_means(plain)}"]
    loses = gain_of(rung, *pairs(ACCURACY, "dense", "random"), "points", MARGIN)
    gains = gain_of(rung, *pairs(ACCURACY, "sign-in", "random"), "points", after - before)
    return [
        Finding(claims.LOSES, "–", (loses,)),
        Finding(claims.GAIN, f"CIFAR-10, ResNet-20: {before} → {after}", (gains,)),
        held(claims.MORE, *pairs(FLIPPED, "sign-in", "random"), "% of weights", above),
        held(claims.OUTPUT, ahead, [0.0] * len(ahead), "% of weights", above, by_layer[0]),
        held(claims.AHEAD, ahead, other, "% of weights", above, by_layer[1]),
        held(claims.FLATTER, *pairs(SHARPNESS, "sign-in", "random"), "in λ_max", below),
    ]


def output_ahead(flips: Sequence[Row]) -> list[float]:
    """For each seed the flips of the last layer at the last epoch minus the mean over all other layers.

    Flips are in percent of a layer's active weights. flips: rows of `flip_rows` of one model and arm; a network of one
    layer gives 0.
    """
    found = []
    for shares in _last_shares(flips).values():
        *others, last = shares.values()
        found.append(last - float(np.mean(others)) if others else 0.0)
    return found


def layer_means(flips: Sequence[Row]) -> str:
    """Flips at the last epoch, in percent, mean over seeds, layer by layer from input to output, as text."""
    by_layer: dict[str, list[float]] = {}
    for shares in _last_shares(flips).values():
        for layer, share in shares.items():
            by_layer.setdefault(layer, []).append(share)
    return ", ".join(f"{np.mean(shares):.1f}" for shares in by_layer.values())


def _last_shares(flips: Sequence[Row]) -> dict[int, dict[str, float]]:
    """Flips since init at the last epoch in percent, by seed and layer."""
    last = max(row["epoch"] for row in flips)
    found: dict[int, dict[str, float]] = {seed: {} for seed in sorted({row["seed"] for row in flips})}
    for row in flips:
        if row["epoch"] == last and row["layer"] != "total":
            found[row["seed"]][row["layer"]] = 100 * row["since_init"]
    return found


def _transplant_findings(rows: Sequence[Row], cells: "Sequence[Cell]") -> list[Finding]:
    """The statements of sparse_training/transplant beside the published numbers that they are about."""
    from sparse_training.transplant.report import roles_of, statements_of
    from sparse_training.transplant.verdict import BASELINE

    signs, random, roles = "final signs + learned mask", "random init + learned mask", roles_of(cells)
    texts = {
        claims.RECOVERS: (sign_alignment(signs), roles.signs, BASELINE, MARGIN),
        claims.MAGNITUDES: (sign_alignment("final magnitudes + learned mask"), roles.magnitudes, BASELINE, MARGIN),
        claims.EARLY: (
            sign_alignment("signs of epoch 30 + learned mask"),
            min(roles.early.items())[1],
            BASELINE,
            MARGIN,
        ),
        claims.SIGNS: (sign_alignment(signs, random), roles.signs, roles.random, _published_gap(signs, random)),
    }
    found = []
    for told in statements_of(rows, cells, MARGIN):
        published_text, start, reference, effect = texts[told.statement]
        first, second = (by_seed(rows, "accuracy", source=told.source, start=name) for name in (start, reference))
        missing = needed(np.subtract(first, second), effect)
        answer = Answer(f"digits, {told.source}", told.measured, told.verdict, missing)
        found.append(Finding(told.statement, published_text, (answer,)))
    return found


def _published_gap(start: str, reference: str) -> float:
    return SIGN_ALIGNMENT.value(start, "AC/DC") - SIGN_ALIGNMENT.value(reference, "AC/DC")


def _untested() -> list[Finding]:
    """Claims that speak of models and data that this run does not touch."""
    told = (
        ("Sign-In helps at ImageNet scale (ResNet-50, DeiT-Small)", "71.56 → 72.19 at 90 %; DeiT over 1 point"),
        ("Sign-In improves AC/DC and RiGL too", "RiGL 73.70 → 74.27; AC/DC 74.75 → 74.74, at 90 %"),
    )
    return [Finding(claim, published) for claim, published in told]
