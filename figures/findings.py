"""What the digits experiments and the phase diagrams say: rows for tables, and a verdict on each claim of the paper."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from commons.statistics import mean_interval, paired_interval
from commons.verdicts import Verdict, above, below, every
from figures.experiments import Trained
from figures.phase_diagrams import QUADRANTS, recovered_by_quadrant
from figures.published import RANDOM_MASK, SIGN_ALIGNMENT

if TYPE_CHECKING:
    from dynamics import PhaseDiagram
    from sparse_training.transplant import Cell

Row = dict[str, Any]
ACCURACY, FLIPPED, SHARPNESS = "test accuracy (%)", "flipped since init (%)", "largest Hessian eigenvalue"
FINAL_SIGNS = "signs as at the end of the source (%)"
MARGIN = 1.0  # points of accuracy below the baseline that still count as recovering it


@dataclass(frozen=True)
class Finding:
    """A claim, what was published for it, what was measured here, and the verdict between them."""

    claim: str
    published: str
    measured: str
    verdict: Verdict

    def row(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}


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
            if counts.epoch:
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


def _counted(claim: str, published: str, as_claimed: int, starts: int) -> Finding:
    """A claim about every start of a grid. The count is exact and the grid is not drawn, so it has no interval."""
    share = f" ({as_claimed / starts:.2%})" if starts else ""
    return Finding(claim, published, f"{as_claimed} of {starts} starts of the grid{share}", every(as_claimed, starts))


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
    def change(column: str, arm: str, reference: str) -> Any:
        first, second = (by_seed(networks, column, model=model, arm=name) for name in (arm, reference))
        return paired_interval(first, second)

    before, after = (RANDOM_MASK.value(f"CIFAR-10, ResNet-20, {arm}", "90 %") for arm in ("random", "random + Sign-In"))
    loss = change(ACCURACY, "random", "dense")
    gain = change(ACCURACY, "sign-in", "random")
    more = change(FLIPPED, "sign-in", "random")
    flatter = change(SHARPNESS, "sign-in", "random")
    own, plain = ([row for row in flips if (row["model"], row["arm"]) == (model, arm)] for arm in ("sign-in", "random"))
    ahead, extra = mean_interval(output_ahead(own)), paired_interval(output_ahead(own), output_ahead(plain))
    return [
        Finding(f"{model}: a 90 % random mask loses to dense", "–", loss.signed("points"), below(loss)),
        Finding(
            f"{model}: Sign-In beats plain training under the same mask",
            f"CIFAR-10, ResNet-20: {before} → {after}",
            gain.signed("points"),
            above(gain),
        ),
        Finding(f"{model}: Sign-In flips more signs", "in words", more.signed("% of weights"), above(more)),
        Finding(
            f"{model}: Sign-In flips most near the output (last layer against the mean of all others)",
            "in words",
            f"{ahead.signed('% of weights')}; flipped by layer {layer_means(own)}",
            above(ahead),
        ),
        Finding(
            f"{model}: the output is further ahead with Sign-In than with plain training",
            "in words",
            f"{extra.signed('% of weights')}; plain by layer {layer_means(plain)}",
            above(extra),
        ),
        Finding(
            f"{model}: Sign-In ends flatter (largest Hessian eigenvalue)",
            "in words",
            flatter.signed("in λ_max"),
            below(flatter),
        ),
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
    from sparse_training.transplant.report import statements_of

    def published(start: str, reference: str = "baseline (the method itself)") -> str:
        return f"AC/DC: {SIGN_ALIGNMENT.value(start, 'AC/DC')} against {SIGN_ALIGNMENT.value(reference, 'AC/DC')}"

    signs, random = "final signs + learned mask", "random init + learned mask"
    texts = {
        "learned mask and signs recover the baseline": published(signs),
        "learned mask and magnitudes, random signs, do not": published("final magnitudes + learned mask"),
        "early signs suffice": published("signs of epoch 30 + learned mask"),
        "learned signs beat random ones under the learned mask": published(signs, random),
    }
    return [
        Finding(f"{told.source}: {told.statement}", texts[told.statement], told.measured, told.verdict)
        for told in statements_of(rows, cells, MARGIN)
    ]


def _untested() -> list[Finding]:
    """Claims that speak of models and data that this run does not touch."""
    claims = (
        ("Sign-In helps at ImageNet scale (ResNet-50, DeiT-Small)", "71.56 → 72.19 at 90 %; DeiT over 1 point"),
        ("Sign-In improves AC/DC and RiGL too", "RiGL 73.70 → 74.27; AC/DC 74.75 → 74.74, at 90 %"),
        ("without the reset the gain is marginal", "in words"),
        ("β₁ > β₂ is met by uniform β = 1 in practice", "in words"),
    )
    return [Finding(claim, published, "–", Verdict.NOT_TESTED) for claim, published in claims]
