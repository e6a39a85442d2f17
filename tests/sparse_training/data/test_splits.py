"""A data set of one's own samples keeps its inputs as they are, and trains like any other."""

import pytest
import torch

from commons import InputError
from sparse_training import Config, data, train
from sparse_training.data import DATASETS, Data, from_splits


def samples(n: int = 40, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(n) % 3
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(n)) + y.view(-1, *[1] * len(shape)), y


def test_inputs_stay_and_an_epoch_is_a_permutation() -> None:
    train, test = samples(40, 6), samples(9, 6)
    own = from_splits("own", train, test)
    assert (own.shape, own.num_classes, own.n_train, own.n_test) == ((6,), 3, 40, 9)
    assert own.inputs == {"num_classes": 3}
    assert all(torch.equal(a, b) for a, b in zip(own.samples("train"), train, strict=True))
    assert all(
        torch.equal(torch.cat(part), whole) for part, whole in zip(zip(*own.test(4), strict=True), test, strict=True)
    )
    x, y = (torch.cat(part) for part in zip(*own.train(2, 16, seed=1), strict=True))
    order = torch.tensor([int((train[0] == row).all(1).nonzero()) for row in x])
    assert sorted(order.tolist()) == list(range(40))
    assert torch.equal(y, train[1][order])
    halves = [torch.cat([x for x, _ in own.train(2, 8, seed=1, rank=rank, world=2)]) for rank in (0, 1)]
    assert torch.equal(torch.stack(halves, 1).flatten(0, 1), x)


def test_it_trains(tmp_path) -> None:  # type: ignore[no-untyped-def]
    def own() -> Data:
        return from_splits("own", samples(60, 1, 4, 4), samples(30, 1, 4, 4))

    DATASETS.register("own-splits")(own)
    try:
        assert data.load("own-splits").inputs == {"in_channels": 1, "image_size": 4, "num_classes": 3}
        config = Config().with_set(["data.name=own-splits", "epochs=8", "batch_size=16", "engine.device=cpu"])
        assert train(config, tmp_path / "run").test_accuracy > 60
    finally:
        del DATASETS["own-splits"]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ((torch.zeros(4, 2), torch.zeros(4)), samples(4, 2), "train.1.='torch.float32 .4,.' is not int64"),
        (samples(4, 2), (torch.zeros(4, 2), torch.tensor([0, 1, -1, 0])), "test.1.='torch.int64 .4,.' is not int64"),
        (samples(4, 2), (torch.zeros(3, 2), torch.arange(4)), "test.0.=.3, 2. is not .4, ..."),
        (samples(4, 2), (torch.zeros(4, 3), torch.arange(4)), "of the same shape in both splits"),
    ],
)
def test_mistakes_are_named(train: tuple, test: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_splits("own", train, test)


def test_a_callable_in_the_place_of_a_folder_is_told_where_it_belongs() -> None:
    with pytest.raises(
        InputError, match=r"root='own:samples' is not empty, .*; data.name=own:samples names a callable"
    ):
        data.load("digits", "own:samples")
