import pytest

import theory
from commons.verdicts import Verdict
from dynamics import phase_diagram
from figures.claims import AHEAD, OUTPUT
from figures.findings import by_seed, layer_means, output_ahead, theory_findings, training_findings
from sparse_training.transplant import paper_cells
from sparse_training.transplant.verdict import BASELINE


def test_rows_pair_by_seed_whatever_their_order() -> None:
    rows = [{"arm": arm, "seed": str(seed), "x": str(seed + 0.5)} for seed in (10, 9, 1) for arm in ("a", "b")]
    assert by_seed(rows, "x", arm="b") == [1.5, 9.5, 10.5]


def flips(model: str, arm: str, shares: list[float]) -> list[dict[str, object]]:
    return [
        {"model": model, "arm": arm, "seed": seed, "epoch": epoch, "layer": layer, "since_init": epoch * share}
        for epoch in (1, 2)
        for layer, share in (("total", 0.9), *((f"layer {k}", share) for k, share in enumerate(shares)))
        for seed in range(6)
    ]


def test_the_output_is_held_against_all_other_layers() -> None:
    assert output_ahead(flips("m", "a", [0.1, 0.3, 0.2])) == pytest.approx([0] * 6)
    assert output_ahead(flips("m", "a", [0.1, 0.0, 0.2])) == pytest.approx([30] * 6)
    assert layer_means(flips("m", "a", [0.1, 0.0, 0.2])) == "20.0, 0.0, 40.0"


def told(plain: list[float], sign_in: list[float]) -> dict[str, Verdict]:
    networks = [
        {"model": "m", "arm": arm, "seed": seed, "test accuracy (%)": 90.0 + seed, "flipped since init (%)": 1.0}
        | {"largest Hessian eigenvalue": 1.0}
        for arm in ("dense", "random", "sign-in")
        for seed in range(6)
    ]
    rows = flips("m", "random", plain) + flips("m", "sign-in", sign_in)
    cells = paper_cells((3,))
    starts = [
        {"source": "m", "start": start, "seed": seed, "accuracy": 90.0 + seed, "same_as": ""}
        for start in (BASELINE, *(cell.label for cell in cells))
        for seed in range(6)
    ]
    return {found.claim: found.verdict for found in training_findings(networks, rows, starts, cells)}


def test_flips_near_the_output_are_sign_ins_only_where_plain_training_has_fewer() -> None:
    most, further = OUTPUT, AHEAD
    both = told([0.1, 0.1, 0.3], [0.1, 0.1, 0.3])
    assert (both[most], both[further]) == (Verdict.AGREES, Verdict.NOT_RESOLVED)
    own = told([0.1, 0.1, 0.1], [0.1, 0.1, 0.3])
    assert (own[most], own[further]) == (Verdict.AGREES, Verdict.AGREES)
    middle = told(
        [0.1, 0.1, 0.1], [0.1, 0.4, 0.2]
    )  # the last layer beats the first, and is not the one that flips most
    assert (middle[most], middle[further]) == (Verdict.DISAGREES, Verdict.DISAGREES)


def test_every_statement_of_the_transplant_stands_beside_what_was_published() -> None:
    found = [claim for claim in told([0.1, 0.1], [0.1, 0.1]) if "learned" in claim or "early" in claim]
    assert len(found) == 4


def test_an_exact_count_on_a_grid_has_no_interval() -> None:
    standard, sign_in = phase_diagram(theory.Standard(), grid=16), phase_diagram(theory.SignIn(1.0, 0.25), grid=16)
    found = theory_findings({"standard": standard, "Sign-In, beta_a > beta_w": sign_in})
    assert found[0].deciding.measured == "32 of 32 starts of the grid (100.00 %)"
    assert [finding.verdict for finding in found] == [
        Verdict.AGREES,
        Verdict.DISAGREES,
        Verdict.AGREES,
        Verdict.DISAGREES,
        Verdict.AGREES,
    ]
    assert not any("interval" in finding.deciding.measured or "±" in finding.deciding.measured for finding in found)
