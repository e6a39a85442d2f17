"""What the digits experiments and the phase diagrams say: rows for tables, and a verdict on each claim of the paper.

It reads trained networks and diagrams; nothing is trained or integrated here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from commons.statistics import mean_interval, paired_interval
from figures.claims import Finding, above, below, by_seed, difference, every, untested
from figures.experiments import EARLY, SOURCE, Trained
from figures.published import RANDOM_MASK, SIGN_ALIGNMENT

if TYPE_CHECKING:
    from dynamics import PhaseDiagram

Row = dict[str, Any]
SIGNS_KEPT = "signs as at the end of the source (%)"
MARGIN = 1.0  # points of accuracy below the baseline that still count as recovering it
QUADRANTS = {"a > 0, w > 0": (1, 1), "a < 0, w > 0": (-1, 1), "a > 0, w < 0": (1, -1), "a < 0, w < 0": (-1, -1)}


def network_rows(trained: Sequence[Trained]) -> list[Row]:
    """One row a trained arm: accuracies, flips since init over the active weights, maximum Hessian eigenvalue."""
    from sparse_training.signs import flips_by_layer, total

    rows = []
    for network in trained:
        run = network.run
        flips = total(flips_by_layer(run.weights(0), run.weights(), run.masks()).values())
        curvature = network.curvature
        rows.append(
            {
                "model": network.model,
                "arm": network.arm,
                "seed": network.seed,
                "density": run.summary["density"],
                "test accuracy (%)": run.summary["test_accuracy"],
                "flipped since init (%)": 100 * flips.flipped_share,
                "largest Hessian eigenvalue": curvature["value"],
                "residual": curvature["residual"],
                "products": curvature["hvps"],
                "converged": curvature["converged"],
            }
        )
    return rows


def flip_rows(trained: Sequence[Trained]) -> list[Row]:
    """One row a network, epoch and layer ("total" for all): shares flipped since init and since the previous epoch."""
    from sparse_training.signs import flips_by_layer, total

    rows = []
    for network in trained:
        run = network.run
        masks, start = run.masks(), run.weights(0)
        before = start
        for epoch in run.epochs[1:]:
            now = run.weights(epoch)
            since_init = flips_by_layer(start, now, masks)
            since_previous = flips_by_layer(before, now, masks)
            since_init["total"], since_previous["total"] = total(since_init.values()), total(since_previous.values())
            rows += [
                {
                    "model": network.model,
                    "arm": network.arm,
                    "seed": network.seed,
                    "epoch": epoch,
                    "layer": layer,
                    "since_init": counts.flipped_share,
                    "since_previous": since_previous[layer].flipped_share,
                }
                for layer, counts in since_init.items()
            ]
            before = now
    return rows


def transplant_rows(trained: Sequence[Trained]) -> list[Row]:
    """One row a start of the sparse run and seed: the source itself, then its transplants."""
    from sparse_training.signs import agreement

    final = {(t.model, t.seed): t.run.weights() for t in trained if t.arm == SOURCE}
    return [
        {
            "model": t.model,
            "start": t.arm,
            "seed": t.seed,
            SIGNS_KEPT: 100 * agreement(t.run.weights(0), final[t.model, t.seed], t.run.masks()),
            "test accuracy (%)": t.run.summary["test_accuracy"],
        }
        for t in trained
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


def recovered_by_quadrant(diagram: "PhaseDiagram", balanced: bool = False) -> dict[str, tuple[int, int]]:
    """(recovered starts, starts) in each open quadrant; balanced: only those with |a₀| = |w₀|."""
    from dynamics import Outcome

    a, w = np.meshgrid(diagram.a, diagram.w, indexing="ij")
    chosen = np.isclose(np.abs(a), np.abs(w)) if balanced else np.ones_like(a, dtype=bool)
    counts = {}
    for name, (sign_a, sign_w) in QUADRANTS.items():
        inside = (np.sign(a) == sign_a) & (np.sign(w) == sign_w) & chosen
        counts[name] = (int((diagram.outcome[inside] == Outcome.RECOVERED).sum()), int(inside.sum()))
    return counts


def theory_findings(diagrams: Mapping[str, "PhaseDiagram"]) -> list[Finding]:
    """Theorems 5.1, 5.2 and 5.4 against the integrated starts of the diagrams `standard` and `sign-in, β₁ > β₂`."""
    standard, sign_in = diagrams["standard"], diagrams["Sign-In, beta1 > beta2"]
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
        measured, verdict = every(as_claimed, sum(n for _, n in counts))
        findings.append(Finding(text, published, f"as claimed: {measured}", verdict))
    below_zero = [recovered_by_quadrant(diagram)[name] for diagram in diagrams.values() for name in list(QUADRANTS)[2:]]
    failed, starts = sum(n - k for k, n in below_zero), sum(n for _, n in below_zero)
    measured, verdict = every(failed, starts)
    text = "Theorem 5.4, all four flows, starts with w < 0"
    return [*findings, Finding(text, "none recovers", f"as claimed: {measured}", verdict)]


def training_findings(networks: Sequence[Row], flips: Sequence[Row], transplants: Sequence[Row]) -> list[Finding]:
    """The paper's statements about training, held against each model's seeds, paired seed by seed."""
    models = list(dict.fromkeys(row["model"] for row in networks))
    findings = [finding for model in models for finding in _arm_findings(model, networks, flips)]
    findings += [finding for model in models for finding in _transplant_findings(model, transplants)]
    return findings + untested(
        [
            ("Sign-In helps at ImageNet scale (ResNet-50, DeiT-Small)", "71.56 → 72.19 at 90 %; DeiT over 1 point"),
            ("Sign-In improves AC/DC and RiGL too", "RiGL 73.70 → 74.27; AC/DC 74.75 → 74.74, at 90 %"),
            ("without the reset the gain is marginal", "in words"),
            ("β₁ > β₂ is met by uniform β = 1 in practice", "in words"),
        ]
    )


def _arm_findings(model: str, networks: Sequence[Row], flips: Sequence[Row]) -> list[Finding]:
    def change(column: str, arm: str, reference: str) -> Any:
        first, second = (by_seed(networks, column, model=model, arm=name) for name in (arm, reference))
        return paired_interval(first, second)

    accuracy, flipped, sharpness = (
        "test accuracy (%)",
        "flipped since init (%)",
        "largest Hessian eigenvalue",
    )
    before, after = (RANDOM_MASK.value(f"CIFAR-10, ResNet-20, {arm}", "90 %") for arm in ("random", "random + Sign-In"))
    loss = change(accuracy, "random", "dense")
    gain = change(accuracy, "sign-in", "random")
    more = change(flipped, "sign-in", "random")
    flatter = change(sharpness, "sign-in", "random")
    last = max(row["epoch"] for row in flips)
    ends = [row for row in flips if row["model"] == model and row["arm"] == "sign-in" and row["epoch"] == last]
    layers = list(dict.fromkeys(row["layer"] for row in ends if row["layer"] != "total"))
    out, into = ([100 * row["since_init"] for row in ends if row["layer"] == layers[i]] for i in (-1, 0))
    outward = paired_interval(out, into)
    return [
        Finding(f"{model}: a 90 % random mask loses to dense", "–", difference(loss, "points"), below(loss)),
        Finding(
            f"{model}: Sign-In beats plain training under the same mask",
            f"CIFAR-10, ResNet-20: {before} → {after}",
            difference(gain, "points"),
            above(gain),
        ),
        Finding(f"{model}: Sign-In flips more signs", "in words", difference(more, "% of weights"), above(more)),
        Finding(
            f"{model}: Sign-In flips most near the output (last layer against first)",
            "in words",
            difference(outward, "% of weights"),
            above(outward),
        ),
        Finding(
            f"{model}: Sign-In ends flatter (largest Hessian eigenvalue)",
            "in words",
            difference(flatter, "in λ_max"),
            below(flatter),
        ),
    ]


def _transplant_findings(model: str, transplants: Sequence[Row]) -> list[Finding]:
    late, signs, magnitudes = (
        f"signs of epoch {EARLY[-1]} + learned mask",
        "final signs + learned mask",
        "final magnitudes + learned mask",
    )
    random = "random init + learned mask"

    def against(start: str, reference: str) -> Any:
        column = "test accuracy (%)"
        first, second = (by_seed(transplants, column, model=model, start=name) for name in (start, reference))
        return paired_interval(first, second)

    def published(start: str, reference: str = "baseline (the method itself)") -> str:
        return f"AC/DC: {SIGN_ALIGNMENT.value(start, 'AC/DC')} against {SIGN_ALIGNMENT.value(reference, 'AC/DC')}"

    early_published = published("signs of epoch 30 + learned mask")
    better = against(signs, random)
    recovers = f"within {MARGIN:g} point of the baseline"
    return [
        Finding(
            f"{model}: learned mask + final signs, random magnitudes: {recovers}",
            published(signs),
            difference(against(signs, SOURCE), "points"),
            above(against(signs, SOURCE), -MARGIN),
        ),
        Finding(
            f"{model}: learned mask + signs of epoch {EARLY[-1]} of 30: {recovers}",
            early_published,
            difference(against(late, SOURCE), "points"),
            above(against(late, SOURCE), -MARGIN),
        ),
        Finding(
            f"{model}: learned mask + final magnitudes, random signs: below the baseline",
            published(magnitudes),
            difference(against(magnitudes, SOURCE), "points"),
            below(against(magnitudes, SOURCE)),
        ),
        Finding(
            f"{model}: learned mask, final signs beat random ones",
            published(signs, random),
            difference(better, "points"),
            above(better),
        ),
    ]
