"""Losses that are no plain mean: every chunking gives the same weighted mean, and what cannot be cut is refused."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, nll_loss

from commons import InputError
from sparse_training.sharpness import HessianOperator, max_eigenvalue
from sparse_training.sharpness.scout import scout

WEIGHTS = torch.tensor([1.0, 50.0])


def rare_class(seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """64 samples with three of the rare class among the first fifty and ten in a row near the end."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.zeros(64, dtype=torch.long)
    y[[5, 20, 40, *range(50, 60)]] = 1
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    return model, torch.randn(64, 6, generator=draw, dtype=torch.float64), y


def plain_weighted(output: Tensor, y: Tensor) -> Tensor:
    """A weighted mean that only its source code tells."""
    return cross_entropy(output, y, weight=WEIGHTS.to(output.dtype))


def summed(output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return cross_entropy(output, y, weight=WEIGHTS.to(output.dtype), reduction="sum"), WEIGHTS[y].sum()


def each(output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return cross_entropy(output, y, reduction="none"), WEIGHTS[y]


LOSSES = {
    "module": nn.CrossEntropyLoss(WEIGHTS),
    "module without reduction": nn.CrossEntropyLoss(WEIGHTS, reduction="none"),
    "partial": partial(cross_entropy, weight=WEIGHTS),
    "sum and weight": summed,
    "losses and weights": each,
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_weighted_mean_is_the_same_in_every_chunking(loss: Callable[..., object]) -> None:
    model, x, y = rare_class()
    truth = max_eigenvalue(model, plain_weighted, (x, y), tol=1e-8).value
    whole = HessianOperator(model, plain_weighted, (x, y))
    uneven = [(x[:3], y[:3]), (x[3:50], y[3:50]), (x[50:], y[50:])]
    for data, chunk in (((x, y), 64), ((x, y), 8), ((x, y), 1), (uneven, 20)):
        operator = HessianOperator(model, loss, data, chunk=chunk)
        assert operator.value == pytest.approx(whole.value, rel=1e-12)
        assert (operator.gradient - whole.gradient).abs().max() <= 1e-12
        assert operator.loss_at(torch.ones(operator.size)) == pytest.approx(whole.loss_at(torch.ones(operator.size)))
        pair = max_eigenvalue(model, loss, data, chunk=chunk, tol=1e-8)
        assert pair.converged
        assert pair.value == pytest.approx(truth, rel=1e-8)


def test_weights_that_three_samples_do_not_show_are_refused_in_pieces() -> None:
    """The first, the middle and the last sample are all of the common class."""
    model, x, y = rare_class()
    assert not y[[0, 32, 63]].any()
    means = [plain_weighted(model(x[i : i + 8]), y[i : i + 8]) for i in range(0, 64, 8)]
    assert abs(sum(means) / 8 - plain_weighted(model(x), y)) > 0.01  # so the pieces would give another number
    assert max_eigenvalue(model, plain_weighted, (x, y)).converged
    with pytest.raises(InputError, match="mean over independent samples"):
        max_eigenvalue(model, plain_weighted, (x, y), chunk=8)


def test_the_check_needs_no_sample_with_another_loss() -> None:
    """With equal outputs for all samples every weighting has the same value, and not the same Hessian."""
    model, x, y = rare_class()
    nn.init.zeros_(model[2].weight)  # type: ignore[arg-type]
    nn.init.zeros_(model[2].bias)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="mean over independent samples"):
        HessianOperator(model, plain_weighted, (x, y), chunk=8)


def test_batches_that_are_of_one_class_each_do_not_hide_the_weights() -> None:
    model, x, y = rare_class()
    batches = [(x[y == label], y[y == label]) for label in (0, 1)]
    with pytest.raises(InputError, match="mean over independent samples"):
        HessianOperator(model, plain_weighted, batches)


def test_a_network_whose_samples_see_each_other_is_refused_in_pieces() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x)
            return out - out.mean(0)

    _, x, y = rare_class()
    model = Centred().double()
    assert HessianOperator(model, cross_entropy, (x, y)).size
    for loss in (cross_entropy, each):
        with pytest.raises(InputError, match="Centred"):
            HessianOperator(model, loss, (x, y), chunk=16)


class Tokens(nn.Module):
    """A language model of 5 words: logits (B, T, 5) for x (B, T) of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.head(torch.tanh(self.embedding(x)).cumsum(1)))


def sentences(lengths: list[int], width: int) -> tuple[Tensor, Tensor]:
    """Words (B, width) and the words that follow, −100 beyond each sentence's length."""
    draw = torch.Generator().manual_seed(1)
    x, y = (torch.randint(5, (len(lengths), width), generator=draw) for _ in range(2))
    for row, length in zip(y, lengths, strict=True):
        row[length:] = -100
    return x, y


def over_tokens(output: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(output.reshape(-1, 5), y.reshape(-1))


@pytest.mark.parametrize(
    "loss",
    [cross_entropy, nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)],
    ids=["function", "module", "smoothed"],
)
def test_padded_tokens_count_by_token(loss: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    model = Tokens().double()
    x, y = sentences([7, 1, 3, 2, 7, 5, 0, 1, 6], 7)
    whole = partial(over_tokens) if loss is cross_entropy else lambda output, y: loss(output.movedim(2, 1), y)
    truth = HessianOperator(model, whole, (x, y), params="all")
    v = torch.linspace(-1, 1, truth.size, dtype=torch.float64)
    shorter = [(x[:5], y[:5]), (x[5:, :6], y[5:, :6])]  # padded to the longest of each batch
    for data, chunk in (((x, y), 9), ((x, y), 2), ((x, y), 1), (shorter, 3)):
        found = HessianOperator(model, loss, data, params="all", chunk=chunk)
        assert found.weight == pytest.approx(32)
        assert found.value == pytest.approx(truth.value, rel=1e-12)
        assert (found @ v - truth @ v).abs().max() <= 1e-12
    with pytest.raises(InputError, match="mean over independent samples"):
        HessianOperator(model, over_tokens, (x, y), params="all", chunk=3)


def test_losses_of_tokens_without_weights_are_their_mean() -> None:
    model = Tokens().double()
    x, y = sentences([7] * 6, 7)
    tokens = HessianOperator(model, lambda o, y: cross_entropy(o.movedim(2, 1), y, reduction="none"), (x, y), chunk=4)
    assert tokens.weight == 42
    assert tokens.value == pytest.approx(over_tokens(model(x), y).item(), rel=1e-12)


def test_probabilities_squares_and_log_probabilities_are_plain_means(problems: SimpleNamespace) -> None:
    model, (x, y) = problems.network("mlp"), problems.samples()
    soft = torch.softmax(torch.randn(len(x), 3, dtype=x.dtype), 1)
    for loss, target, network in (
        (nn.CrossEntropyLoss(torch.arange(1.0, 4)), soft, model),
        (mse_loss, soft, model),
        (nn.MSELoss(reduction="none"), soft, model),
        (nn.NLLLoss(), y, nn.Sequential(model, nn.LogSoftmax(1))),
        (nll_loss, y, nn.Sequential(model, nn.LogSoftmax(1))),
    ):
        whole = HessianOperator(network, loss, (x, target))
        pieces = HessianOperator(network, loss, (x, target), chunk=5)
        v = torch.linspace(-1, 1, whole.size, dtype=torch.float64)
        assert (whole @ v - pieces @ v).abs().max() <= 1e-12


def test_a_look_at_a_few_samples_weighs_them(problems: SimpleNamespace) -> None:
    """Half of the samples do not count: a look at the others must scale λ₂ by their share of the weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    x = torch.randn(1600, 6, dtype=torch.float64)
    y = (x[:, 0] > 0).long()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for _ in range(200):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    ignored = torch.cat([y, torch.full_like(y, -100)])
    both = HessianOperator(model, cross_entropy, (torch.cat([x, x]), ignored), chunk=4000)
    alone = HessianOperator(model, cross_entropy, (x, y), chunk=4000)
    seen, expected = scout(both, 0), scout(alone, 0)
    assert seen is not None
    assert expected is not None
    assert seen.second == pytest.approx(expected.second, rel=1e-9)


def test_mistakes_are_named() -> None:
    model, x, y = rare_class()
    for loss, message in (
        (lambda o, y: 0.3, "a tensor, or a pair"),
        (lambda o, y: (cross_entropy(o, y, reduction="none"), torch.ones(3)), "one shape"),
        (nn.CrossEntropyLoss(ignore_index=0), "weight"),
    ):
        with pytest.raises(InputError, match=message):
            HessianOperator(model, loss, (x, torch.zeros_like(y)), chunk=8)
