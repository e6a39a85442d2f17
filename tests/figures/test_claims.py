"""Claims: the smallest rung that decides is named, and what a problem's file says of them follows from its numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commons.statistics import paired_p_value, seeds_needed
from commons.verdicts import Verdict
from figures import claims, disputes
from figures.bench import RUNGS, Arms, bench_findings
from figures.claims import Answer, Finding, gain_of, merged

OPEN, YES, NO, UNTESTED = Verdict.NOT_RESOLVED, Verdict.AGREES, Verdict.DISAGREES, Verdict.NOT_TESTED


def finding(*rungs: tuple[str, Verdict]) -> Finding:
    return Finding("a claim", "–", tuple(Answer(rung, f"on {rung}", verdict, 7) for rung, verdict in rungs))


def test_the_smallest_rung_that_decides_is_named_whatever_the_order() -> None:
    row = finding(("digits, cnn", NO), ("three-layer", YES), ("neurons", OPEN)).row()
    assert (row["verdict"], row["rung"], row["measured"]) == ("agrees", "three-layer", "on three-layer")
    assert row["seeds to resolve it"] == "–"
    assert row["elsewhere"] == "digits, cnn: disagrees; neurons: not resolved"


def test_what_no_rung_decides_says_how_many_seeds_would() -> None:
    row = finding(("neurons", OPEN), ("digits, mlp", OPEN), ("digits, cnn", UNTESTED)).row()
    assert (row["verdict"], row["rung"]) == ("not resolved", "digits, mlp")
    assert row["seeds to resolve it"] == "7 (neurons), 7 (digits, mlp)"
    assert finding().row()["verdict"] == "not tested"


def test_evidence_of_one_claim_comes_together_in_the_order_of_mention() -> None:
    a, b = Finding("a", "–", (Answer("neurons", "", OPEN),)), Finding("b", "x")
    again = Finding("a", "71 → 72", (Answer("digits, mlp", "", YES),))
    found = merged([a, b, again])
    assert [each.claim for each in found] == ["a", "b"]
    assert found[0].published == "71 → 72"
    assert [each.rung for each in found[0].answers] == ["neurons", "digits, mlp"]


def test_a_gain_agrees_where_it_is_nearer_to_one_of_interest_than_to_none() -> None:
    noise = np.random.default_rng(0).normal(size=400)
    noise -= noise.mean()
    for shift, verdict in ((1.0, YES), (0.3, YES), (0.25, OPEN), (0.2, NO), (0.0, NO), (-1.0, NO)):
        assert gain_of("neurons", list(noise * 0.1 + shift), [0.0] * 400, "points", 0.5).verdict is verdict
    few = gain_of("neurons", [3.0, -2.0, 1.0], [0.0] * 3, "points", 0.5)
    assert few.verdict is OPEN
    assert few.measured == "+0.67 ± 6.25 points (n=3)"


def test_so_many_seeds_find_the_effect_four_times_in_five() -> None:
    rng, n = np.random.default_rng(1), seeds_needed(2.0, 0.8)
    found = [paired_p_value(rng.normal(0.8, 2.0, n), np.zeros(n)) < 0.05 for _ in range(2000)]
    assert 0.77 < np.mean(found) < 0.83


def write(folder: Path, rung: Any, losses: dict[str, float], flips: dict[str, float], count: int = 50) -> None:
    """A problem's file in which every arm has the loss and the flips that are given, with a little noise."""
    names = [*rung.arms, f"layer rates at the speeds of {rung.layered}"]
    rng, arms = np.random.default_rng(0), []
    for name in names:
        measures = {key: (flips.get(name, 0.1) + 0.01 * rng.random(count)).tolist() for key in rung.flips}
        measures |= {"λ_max": [2.0, None] + [flips.get(name, 0.1)] * (count - 2), "right from a− w+": [1.0] * count}
        loss = (losses.get(name, 0.4) + 0.01 * rng.standard_normal(count)).tolist()
        arms.append({"arm": name, "relative loss": loss, "measures": measures})
    folder.mkdir(exist_ok=True)
    content = {"quantity": "relative loss", "arms": arms}
    (folder / f"problem-{rung.name}.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_problem_decides_what_its_numbers_say(tmp_path: Path) -> None:
    losses = {"true signs": 0.0, "dense": 0.02, "sign_init even-both": 0.03, "sign_init bottom-up": 0.01}
    for rung in RUNGS:
        write(tmp_path, rung, losses | {rung.layered: 0.3}, {"Sign-In β = 1": 0.2})
    found = {each.claim: each for each in merged(bench_findings(tmp_path))}
    verdicts = {claim: each.verdict for claim, each in found.items()}
    agreed = {claims.LOSES, claims.RECOVERS, claims.MAGNITUDES, claims.SIGNS, claims.LAYERED, claims.GEOMETRY}
    agreed |= {claims.RESET, claims.MORE, claims.INITIALIZED}
    assert {claim for claim, verdict in verdicts.items() if verdict is YES} == agreed
    refuted = {claims.GAIN, claims.UNIFORM, claims.FLATTER}  # no gain of interest, 10 % behind, and a larger λ_max
    assert {claim for claim, verdict in verdicts.items() if verdict is NO} == refuted
    assert {each.deciding.rung for each in found.values() if each.verdict is YES} == {"neurons"}
    assert set(found) == set(claims.LISTED)


def test_a_permutation_is_held_against_what_the_other_mask_loses(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).normal(0, 0.004, (3, 40))
    for errors, verdict in (((0.1, 0.2, 0.11), YES), ((0.1, 0.2, 0.19), NO), ((0.1, 0.1, 0.1), OPEN)):
        arms = [
            {"arm": arm, "test error": (error + own).tolist()}
            for arm, error, own in zip(disputes.ARMS, errors, noise, strict=True)
        ]
        path = tmp_path / "problem-digits-hard.json"
        path.write_text(json.dumps({"quantity": "test error", "arms": arms}), encoding="utf-8")
        assert disputes.permutation_finding(Arms(path)).verdict is verdict


@pytest.mark.parametrize(("kept", "verdict"), [(70.0, YES), (30.0, NO)])
def test_most_weights_never_flip_only_where_more_than_half_do_not(kept: float, verdict: Verdict) -> None:
    rows = [
        {"model": "mlp", "arm": arm, "seed": seed, "weights": part}
        | dict.fromkeys(disputes.SHARES, 100 - kept + seed if (arm, part) == ("random", "all") else 50.0)
        for arm in ("random", "dense")
        for seed in range(3)
        for part in ("all", "second")
    ]
    assert disputes.flips_finding(rows).verdict is verdict
