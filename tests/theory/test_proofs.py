"""Every statement is proved, and no proof survives a flipped sign, exponent or inequality in any of its claims."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from theory import THEOREM_5_1, THEOREM_5_2, THEOREM_5_4, THEOREMS, Power, Standard, recovers
from theory.proof import Proof, Step, Theorem, equal, negative, positive

STEPS = [(theorem, index) for theorem in THEOREMS for index in range(len(theorem.steps))]


@pytest.mark.parametrize("theorem", THEOREMS, ids=lambda theorem: theorem.name)
def test_every_step_is_decided(theorem: Theorem) -> None:
    proof = theorem.prove()
    assert [step.claim for step in proof.steps if not step.holds] == []
    assert proof.holds


@pytest.mark.parametrize(("theorem", "index"), STEPS, ids=[f"{t.name}-{i}" for t, i in STEPS])
def test_no_proof_survives_a_mutation_of_a_step(theorem: Theorem, index: int) -> None:
    mutants = list(theorem.steps[index].mutants())
    assert mutants
    for mutant in mutants:
        steps = (*theorem.steps[:index], mutant, *theorem.steps[index + 1 :])
        assert not replace(theorem, steps=steps).prove().holds, mutant.claim


x, y = sp.symbols("x y", real=True)
p = sp.Symbol("p", positive=True)


def test_mutants_flip_each_sign_exponent_and_inequality() -> None:
    claims = {str(mutant.relation) for mutant in equal("", x**2 - y, sp.sin(x)).mutants()}
    assert {"Eq(x**2 + y, sin(x))", "Eq(-y + x**(-2), sin(x))", "Eq(x**3 - y, sin(x))"} <= claims
    assert {"Eq(x**2 - y, -sin(x))", "Eq(-x**2 + y, sin(x))", "Eq(-x**2 - y, sin(x))"} <= claims
    assert "p < 0" in {str(mutant.relation) for mutant in positive("", p, p).mutants()}


@pytest.mark.parametrize(
    "step",
    [
        equal("false", (x + y) ** 2, x**2 + y**2),
        positive("a certificate of another expression", x**2, p),
        positive("a sign that the assumptions do not give", x, x),
        negative("the wrong sign", p, p),
        equal("an integral that SymPy leaves alone", sp.Integral(sp.exp(sp.sin(sp.exp(x))), (x, 0, 1)), 1),
        equal("a limit that does not exist", sp.Limit(sp.sin(x), x, sp.oo), 0),
        equal("infinite on both sides", sp.Integral(1 / p, (p, 0, 1)), sp.oo),
    ],
    ids=lambda step: step.says,
)
def test_what_is_false_or_undecided_does_not_hold(step: Step) -> None:
    assert not step.holds


def test_a_proof_without_steps_proves_nothing() -> None:
    assert not Proof(()).holds


def _quadrant(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.where(w > 0, 0, 2) + np.where(a > 0, 0, 1)


def test_balanced_starts_end_as_the_table_of_5_1_says() -> None:
    rng = np.random.default_rng(0)
    w = rng.uniform(-2, 2, 200)
    a = np.abs(w) * rng.choice([-1, 1], 200)
    expected = np.array(["recovers", "saddle", "saddle", "saddle"])[_quadrant(a, w)]
    assert (THEOREM_5_1.predict(a, w) == expected).all()


def test_balanced_sign_in_recovers_the_second_quadrant_iff_beta_a_is_larger() -> None:
    w = np.geomspace(1e-3, 1e3, 50)
    assert (THEOREM_5_2.predict(-w, w, 1.0, 0.25) == "recovers").all()
    assert (THEOREM_5_2.predict(-w, w, 0.25, 1.0) == "stuck").all()
    assert (THEOREM_5_2.predict(-w, w, 0.5, 0.5) == "saddle").all()


def test_5_4_has_no_exception_but_a_rough_chart() -> None:
    rng = np.random.default_rng(1)
    a, w = rng.uniform(-3, 3, 500), -rng.uniform(0, 3, 500)
    for flow in (Standard(), Power(1.0), Power(1.5), Power(2.0)):
        assert not (THEOREM_5_4.predict(a, w, flow) == "recovers").any()
    for p in (0.5, 0.75, 0.9):
        assert (recovers(a, w, Power(p)) == ((a > 0) & (a**2 > np.abs(w) ** (2 / p) / p))).all()
