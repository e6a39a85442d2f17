"""The closed-form loss of many neurons: against Monte Carlo, automatic differentiation and one neuron's formulas."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from theory.network import even_covariance, network_gradient, network_loss, separate_gradient, separate_loss
from theory.neuron import gradient_nd, population_loss_nd

K, M, D, S = 3, 2, 5, 4
angles = st.floats(1e-12, math.pi - 1e-12)


def networks(seed: int, m: int = M, d: int = D, batch: tuple[int, ...] = ()) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape + batch) for shape in ((K,), (K, d), (m,), (m, d))]


def embedded(w: np.ndarray) -> np.ndarray:
    """Weights on separate inputs, (k, s, ...), as weights of all k·s inputs."""
    whole = np.zeros((K, K, *w.shape[1:]))
    whole[np.arange(K), np.arange(K)] = w
    return whole.reshape(K, -1, *w.shape[2:])


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_a_mean_over_gaussian_inputs(seed: int) -> None:
    a, w, b, v = networks(seed)
    x = np.random.default_rng(1).standard_normal((400_000, D))
    errors = (np.maximum(x @ w.T, 0) @ a - np.maximum(x @ v.T, 0) @ b) ** 2 / 2
    assert abs(errors.mean() - network_loss(a, w, b, v)) < 4 * errors.std() / math.sqrt(len(x))


def test_one_neuron_is_the_single_neuron_of_the_theory() -> None:
    rng = np.random.default_rng(0)
    a, w, v = rng.standard_normal(1), rng.standard_normal((1, 3)), np.array([[1.0, 0.0, 0.0]])
    of_a, of_w = gradient_nd(a[0], w[0].tolist(), v[0].tolist())
    assert network_loss(a, w, np.ones(1), v) == pytest.approx(float(population_loss_nd(a[0], w[0], v[0])), rel=1e-13)
    found = network_gradient(a, w, np.ones(1), v)
    np.testing.assert_allclose(found[0], [float(of_a)], rtol=1e-12)
    np.testing.assert_allclose(found[1], [[float(x) for x in of_w]], rtol=1e-12)


@pytest.mark.parametrize("separate", [False, True])
def test_the_gradient_is_that_of_the_loss(separate: bool) -> None:
    loss, gradient = (separate_loss, separate_gradient) if separate else (network_loss, network_gradient)
    a, w, b, v = (torch.tensor(x) for x in networks(0, K if separate else M, S, (7,)))
    a.requires_grad_(), w.requires_grad_()
    automatic = torch.autograd.grad(loss(a, w, b, v, torch).sum(), (a, w))
    for claimed, found in zip(gradient(a, w, b, v, torch), automatic, strict=True):
        torch.testing.assert_close(claimed, found, rtol=1e-11, atol=1e-13)


def test_separate_neurons_are_neurons_of_all_inputs() -> None:
    a, w, b, v = networks(3, K, S, (6,))
    whole = a, embedded(w), b, embedded(v)
    np.testing.assert_allclose(separate_loss(a, w, b, v), network_loss(*whole), rtol=1e-12)
    of_a, of_w = network_gradient(*whole)
    claimed = separate_gradient(a, w, b, v)
    np.testing.assert_allclose(claimed[0], of_a, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(claimed[1], np.stack([of_w[i, i * S : (i + 1) * S] for i in range(K)]), atol=1e-13)


@given(psi=angles | angles.map(lambda x: 1e-9 * x) | angles.map(lambda x: math.pi - 1e-9 * x))
def test_digits_are_kept_at_every_angle(psi: float) -> None:
    with mpmath.workdps(50):
        w = [math.cos(psi), math.sin(psi)]
        true = mpmath.atan2(w[1], w[0])
        kernel = (mpmath.sin(true) + (mpmath.pi - true) * mpmath.cos(true)) / (2 * mpmath.pi)
        size = mpmath.hypot(*w)
        loss = (size**2 / 2 + mpmath.mpf(1) / 2 - 2 * size * kernel) / 2
    one, v = np.ones(1), np.array([[1.0, 0.0]])
    found = separate_loss(one, np.array([w]), one, v)
    assert found == pytest.approx(float(loss), rel=1e-12, abs=1e-15 * psi)  # arccos would lose 1e-16


def test_at_the_teacher_and_at_its_opposite_nothing_is_lost() -> None:
    a, w, _, _ = networks(4, K, S)
    assert separate_loss(a, w, a, w) == 0
    assert network_loss(a, w, a, w) == pytest.approx(0, abs=1e-15)
    for of_a, of_w in (separate_gradient(a, w, a, w), network_gradient(a, w, a, w)):
        np.testing.assert_allclose(of_a, 0, atol=1e-14)
        np.testing.assert_allclose(of_w, 0, atol=1e-14)
    # opposite half-planes never meet: E[(f − f*)²] is the sum of two energies
    assert separate_loss(a[:1], w[:1], a[:1], -w[:1]) == pytest.approx(a[0] ** 2 * w[0] @ w[0] / 2, rel=1e-14)


def test_a_dead_neuron_stays_and_leaves_no_nan() -> None:
    a, w, b, v = networks(5, K, S)
    w[1] = 0
    for of_a, of_w in (separate_gradient(a, w, b, v), network_gradient(a, w, b, v)):
        assert of_a[1] == 0
        assert (of_w[1] == 0).all()
        assert np.isfinite(of_w).all()


@pytest.mark.parametrize("function", [separate_gradient, network_gradient])
@pytest.mark.parametrize("library", [np, torch])
def test_a_network_of_a_batch_equals_the_network_alone(function: Any, library: Any) -> None:
    parts = networks(6, K, S, (37,))
    batch = [library.asarray(x) for x in parts]
    together = function(*batch, library)
    for index in (0, 17, 36):
        alone = function(*(library.asarray(np.ascontiguousarray(x[..., index : index + 1])) for x in parts), library)
        for whole, single in zip(together, alone, strict=True):
            assert (whole[..., index] == single[..., 0]).all()


def test_the_even_parts_of_two_neurons_covary_as_stated() -> None:
    x = np.random.default_rng(0).standard_normal((400_000, 2))
    for psi in (0.0, 0.4, 1.2, math.pi / 2, 2.0, math.pi):
        products = np.abs(x[:, 0]) * np.abs(x @ [math.cos(psi), math.sin(psi)]) - 2 / math.pi
        assert abs(products.mean() - even_covariance(psi)) < 4 * products.std() / math.sqrt(len(x))
