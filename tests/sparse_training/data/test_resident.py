"""Sets that live on the device: order, augmentation and shards come from the seed and the epoch alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commons import InputError
from sparse_training import data
from sparse_training.data.resident import (
    BATCHES_AT_ONCE,
    Augmentation,
    Images,
    channel_statistics,
    crop_and_flip,
    from_tensors,
)


@pytest.fixture
def source():
    """Forty coloured images of 6×6 with their index as label, so that an image can be told in a batch."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 6, 6), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(40))


def loaded(source, augmentation=None, device="cpu"):
    classes = tuple(map(str, range(40)))
    return from_tensors("images", classes, source, Images(source.pixels[:7], source.labels[:7]), augmentation, device)


def epoch(source, *arguments, **options):
    batches = list(source.train(*arguments, **options))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_an_epoch_shows_every_image_once_in_a_new_order(source):
    d = loaded(source)
    orders = [epoch(d, index, 16, 0)[1] for index in range(3)]
    assert all(torch.equal(order.sort().values, torch.arange(40)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert [len(y) for _, y in d.train(0, 16, 0)] == [16, 16, 8]


def test_training_images_are_normalised_to_mean_0_and_deviation_1(source):
    x, _ = epoch(loaded(source), 0, 16, 0)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_statistics_equal_those_of_the_images_in_float64_and_a_constant_channel_stays_finite(source):
    pixels = source.pixels.clone()
    pixels[:, 2] = 9
    mean, std = channel_statistics(pixels)
    torch.testing.assert_close(mean, pixels.double().mean((0, 2, 3)))
    torch.testing.assert_close(std[:2], pixels.double().std((0, 2, 3), correction=0)[:2])
    assert std[2] == 1


augmentation = Augmentation(pad=2, flip=True)


def test_an_epoch_depends_on_seed_and_epoch_alone(source):
    d = loaded(source, augmentation)
    first = epoch(d, 3, 16, 5)
    torch.rand(7)
    list(d.train(4, 16, 5))
    again = epoch(loaded(source, augmentation), 3, 16, 5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (epoch(d, 3, 16, 6), epoch(d, 4, 16, 5)):
        assert not torch.equal(first[0], other[0])


def test_batch_size_and_number_of_processes_change_no_image(source):
    d = loaded(source, augmentation)
    x, y = epoch(d, 3, 16, 5)
    assert torch.equal(epoch(d, 3, 7, 5)[0], x)
    shards = [epoch(d, 3, 16, 5, rank=rank, world=4) for rank in range(4)]
    for rank, (part, labels) in enumerate(shards):
        assert torch.equal(labels, y[rank::4])
        assert torch.equal(part, x[rank::4])


def test_batches_made_together_are_those_made_one_by_one(source, monkeypatch):
    d = loaded(source, augmentation)
    alone = list(d.train(1, 7, 2))
    monkeypatch.setitem(BATCHES_AT_ONCE, "cpu", 3)
    for (x, y), (many, labels) in zip(alone, d.train(1, 7, 2), strict=True):
        assert torch.equal(x, many)
        assert torch.equal(y, labels)


def test_processes_make_equally_many_steps(source):
    counts = {len(epoch(loaded(source), 0, 4, 0, rank=rank, world=3)[1]) for rank in range(3)}
    assert counts == {13}


def test_the_global_random_state_is_kept(source):
    state = torch.get_rng_state()
    epoch(loaded(source, augmentation), 0, 16, 0)
    loaded(source).samples("train", 5)
    assert torch.equal(torch.get_rng_state(), state)


@given(
    st.integers(0, 3), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans()), min_size=1, max_size=5)
)
def test_crops_are_windows_of_the_padded_image_mirrored_or_not(pad, moves):
    moves = [(min(row, 2 * pad), min(column, 2 * pad), flip) for row, column, flip in moves]
    images = torch.randint(0, 256, (len(moves), 2, 5, 4), dtype=torch.uint8)
    cropped = crop_and_flip(images, torch.tensor([[r, c, int(f)] for r, c, f in moves]), pad)
    for image, result, (row, column, flip) in zip(images, cropped, moves, strict=True):
        padded = torch.zeros(2, 5 + 2 * pad, 4 + 2 * pad, dtype=torch.uint8)
        padded[:, pad : pad + 5, pad : pad + 4] = image
        window = padded[:, row : row + 5, column : column + 4]
        assert torch.equal(result, window.flip(-1) if flip else window)


def test_every_shift_and_both_mirrorings_are_drawn_equally_often():
    count = 20_000
    source = Images(torch.zeros(count, 1, 2, 2, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64))
    d = from_tensors("zeros", ("0",), source, source, Augmentation(pad=1, flip=True), "cpu")
    cells = torch.zeros(3, 3, 2)
    row, column, flip = d._moves(epoch=0, seed=0).unbind(1)
    cells.index_put_((row, column, flip), torch.ones(count), accumulate=True)
    expected = count / 18
    assert ((cells - expected).abs() < 5 * expected**0.5).all()


def test_each_epoch_and_seed_draws_crops_of_its_own(source):
    d = loaded(source, augmentation)
    moves = d._moves(epoch=0, seed=0)
    for epoch, seed in ((1, 0), (0, 1)):
        assert not torch.equal(d._moves(epoch, seed), moves)


def test_samples_are_plain_distinct_and_chosen_by_the_seed(source):
    d = loaded(source, augmentation)
    x, y = d.samples("train")
    assert torch.equal(y, torch.arange(40))
    torch.testing.assert_close((x * d.std + d.mean).round().byte(), source.pixels)
    some = d.samples("train", 12, seed=1)
    assert len(some[1].unique()) == 12
    assert torch.equal(some[0], x[some[1]])
    assert not torch.equal(some[1], d.samples("train", 12, seed=2)[1])
    assert len(d.samples("test")[1]) == 7


def test_the_test_set_comes_in_its_own_order(source):
    d = loaded(source, augmentation)
    batches = list(d.test(3))
    assert [len(y) for _, y in batches] == [3, 3, 1]
    assert torch.equal(torch.cat([y for _, y in batches]), torch.arange(7))
    assert torch.equal(torch.cat([x for x, _ in batches]), d.samples("test")[0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d: next(d.train(-1, 4, 0)), "epoch=-1"),
        (lambda d: next(d.train(0, 0, 0)), "batch_size=0"),
        (lambda d: next(d.train(0, 4, -1)), "seed=-1"),
        (lambda d: next(d.train(0, 4, 0, rank=2, world=2)), "rank=2"),
        (lambda d: next(d.train(0, 4, 0, world=41)), "world=41"),
        (lambda d: d.samples("tset"), "did you mean test"),
        (lambda d: d.samples("train", 41), "n=41"),
    ],
)
def test_wrong_arguments_are_named(source, call, words):
    with pytest.raises(InputError, match=words):
        call(loaded(source))


def test_digits_are_split_by_class_and_never_augmented():
    d = data.load("digits")
    assert (d.n_train, d.n_test, d.shape, d.num_classes) == (1442, 355, (1, 8, 8), 10)
    (train, y), (_, z) = d.samples("train"), d.samples("test")
    share = torch.bincount(z) / (torch.bincount(y) + torch.bincount(z))
    assert ((share - 0.2).abs() < 0.01).all()
    seen = {(image.numpy().tobytes(), int(label)) for image, label in zip(train, y, strict=True)}
    shown = epoch(d, 0, 100, 0)
    assert {(image.numpy().tobytes(), int(label)) for image, label in zip(*shown, strict=True)} == seen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_gives_the_batches_of_the_cpu(source):
    here, there = loaded(source, augmentation), loaded(source, augmentation, "cuda")
    for (x, y), (u, v) in zip(here.train(1, 16, 0), there.train(1, 16, 0), strict=True):
        assert u.device.type == v.device.type == "cuda"
        assert torch.equal(y, v.cpu())
        torch.testing.assert_close(x, u.cpu(), rtol=0, atol=1e-6)
