"""Factors of a transformer under Adam: |m| − |w| is nearly kept, and m² − w² moves by the law of sign steps."""

import numpy as np
import torch

from sparse_training import SignIn, make_masks, sparsify
from sparse_training.losses import cross_entropy
from sparse_training.models import GPT
from theory import beta_after_sign_steps


def trained(lr: float, steps: int, betas: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """|m| and |w| (steps + 1, N) of the active weights of all matrices, on one batch."""
    torch.manual_seed(0)
    model = GPT(width=16, depth=2, heads=2, num_classes=19).double()
    masks = make_masks(model, 0.3, "random", include=["blocks.*"])
    sparse = sparsify(model, masks, SignIn(beta=0.5))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=betas, eps=1e-30)
    sparse.attach(optimizer)
    tokens = torch.randint(19, (8, 17), generator=torch.Generator().manual_seed(1))
    seen: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for step in range(steps + 1):
        for k, found in enumerate(seen):
            factors = [layer.parameters[k].detach()[layer.mask].abs().numpy() for layer in sparse.layers]
            found.append(np.concatenate(factors))
        if step < steps:
            optimizer.zero_grad()
            cross_entropy(model(tokens[:, :-1]), tokens[:, 1:]).backward()
            optimizer.step()
    return np.stack(seen[0]), np.stack(seen[1])


def test_sign_steps_keep_the_difference_and_move_beta_by_the_law() -> None:
    lr, steps = 1e-4, 12
    m, w = trained(lr, steps, (0.0, 0.0))
    uncrossed = (w > 2 * lr).all(0)  # a factor that passes 0 changes its sign
    assert uncrossed.mean() > 0.9
    m, w = m[:, uncrossed], w[:, uncrossed]
    difference = m[0] - w[0]
    np.testing.assert_allclose(m[-1] - w[-1], difference, atol=1e-12)
    growth = np.sign(np.diff(m, axis=0))
    predicted = beta_after_sign_steps(m[0] ** 2 - w[0] ** 2, difference, lr, growth)
    np.testing.assert_allclose(m[-1] ** 2 - w[-1] ** 2, predicted, rtol=1e-9)
    assert np.abs(predicted - 0.5).max() > 1e-3  # so that there is a drift to predict


def test_adam_moves_the_difference_little_beside_the_way_and_beta_as_predicted() -> None:
    """A smaller rate does not make the drift smaller here, as it does for the single neuron: gradients turn."""
    lr = 2e-3
    m, w = trained(lr, 20, (0.9, 0.99))
    uncrossed = (w > 2 * lr).all(0)
    m, w = m[:, uncrossed], w[:, uncrossed]
    way, difference = m[-1] - m[0], m - w
    assert np.abs(difference[-1] - difference[0]).mean() < 0.1 * np.abs(way).mean()
    beta = m**2 - w**2
    drift, predicted = beta[-1] - beta[0], 2 * difference[0] * way
    assert np.abs(drift - predicted).mean() < 0.01 * np.abs(drift).mean()
    assert np.abs(drift).mean() > 0.02
