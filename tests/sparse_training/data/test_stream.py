"""Sets read by workers: crops are the standard ones, and no worker count, batch size or order of events shows."""

import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from commons import InputError
from sparse_training import data
from sparse_training.data import decode, stream
from sparse_training.data.stream import MEAN, STD, central_box, random_box

# A torchvision that was built for another torch is there and cannot be imported.
BROKEN = (ImportError, RuntimeError, OSError)

SIDES = ((70, 90), (100, 66), (80, 80))


@pytest.fixture
def root(tmp_path, rng, write):
    write.images(tmp_path, rng, ("train", "test"), ("ant", "bee"), 6, SIDES, ".jpg")
    return tmp_path


def epoch(d, *arguments, **options):
    batches = list(d.train(*arguments, **options))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_large_images_are_cropped_to_224_or_the_size_asked_for(root):
    assert data.load("folder", root).shape == (3, 224, 224)
    d = data.load("folder", root, image_size=32)
    x, y = next(d.train(0, 5, 0))
    assert x.shape == (5, 3, 32, 32)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)


def test_workers_batches_and_processes_change_no_image(root):
    d = data.load("folder", root, image_size=16, workers=1)
    x, y = epoch(d, 2, 4, 7)
    for other in (epoch(data.load("folder", root, image_size=16, workers=3), 2, 4, 7), epoch(d, 2, 5, 7)):
        assert torch.equal(other[0], x)
        assert torch.equal(other[1], y)
    part, labels = epoch(d, 2, 4, 7, rank=1, world=2)
    assert torch.equal(part, x[1::2])
    assert torch.equal(labels, y[1::2])


def test_epochs_and_seeds_differ_in_order_and_crops(root):
    d = data.load("folder", root, image_size=16)
    x, _ = epoch(d, 0, 12, 0)
    for other in (epoch(d, 1, 12, 0), epoch(d, 0, 12, 1)):
        assert not {image.numpy().tobytes() for image in x} & {image.numpy().tobytes() for image in other[0]}


def test_without_augmentation_training_images_are_the_central_crops(root):
    d = data.load("folder", root, image_size=16, augment=False)
    x, y = epoch(d, 0, 12, 0)
    plain, labels = d.samples("train")
    assert sorted(image.numpy().tobytes() for image in x) == sorted(image.numpy().tobytes() for image in plain)
    assert torch.equal(y.sort().values, labels)


def test_values_are_normalised_by_the_published_statistics(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "grey").mkdir(parents=True)
        Image.new("RGB", (100, 100), (10, 20, 30)).save(tmp_path / split / "grey" / "0.png")
    (x, _), *_ = data.load("folder", tmp_path, image_size=8).test(1)
    expected = (torch.tensor([10, 20, 30]) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(x, expected.view(1, 3, 1, 1).expand(1, 3, 8, 8))


def test_an_epoch_that_is_left_early_decodes_no_further(root, monkeypatch):
    seen, before = [], set(threading.enumerate())

    def slowly(path, original=decode.open_image):
        seen.append(path)
        time.sleep(0.02)
        return original(path)

    monkeypatch.setattr(stream, "open_image", slowly)
    batches = data.load("folder", root, image_size=16, workers=1).train(0, 4, 0)
    next(batches)  # the two other batches of the epoch are under way
    batches.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert len(seen) < 12


def test_half_of_the_crops_are_mirrored(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "half").mkdir(parents=True)
        for index in range(200 if split == "train" else 1):
            image = Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90).resize((8, 8))
            image.save(tmp_path / split / "half" / f"{index:03d}.png")
    x, _ = epoch(data.load("folder", tmp_path, image_size=8), 0, 50, 0)
    rising = (x[..., -1] > x[..., 0]).all(-1).all(-1)
    assert 70 <= int(rising.sum()) <= 130


sides = st.integers(1, 3000)


@given(sides, sides, st.integers(0, 2**32))
def test_random_crops_lie_within_the_image(height, width, seed):
    left, top, right, bottom = random_box(height, width, np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_random_crops_have_the_standard_areas_aspects_and_places():
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(4000, 4000, rng) for _ in range(4000)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, aspect = width * height / 4000**2, width / height
    assert 0.0795 < area.min() < 0.085
    assert area.max() > 0.97
    assert 0.749 < aspect.min() < 0.76
    assert 1.31 < aspect.max() < 1.334
    assert abs(np.log(aspect).mean()) < 0.02
    room = 4000 - width
    placed = boxes[room > 0, 0] / room[room > 0]
    assert abs(placed.mean() - 0.5) < 0.03


@pytest.mark.parametrize(("height", "width"), [(1000, 10), (10, 1000)])
def test_an_image_too_narrow_for_any_crop_gives_its_centre(height, width):
    left, top, right, bottom = random_box(height, width, np.random.default_rng(0))
    assert {right - left, bottom - top} == ({10, 13} if height > width else {13, 10})
    assert (left + right, top + bottom) == pytest.approx((width, height), abs=1)


@given(sides, sides)
def test_the_central_crop_is_centred_and_spans_seven_eighths_of_the_shorter_side(height, width):
    left, top, right, bottom = central_box(height, width)
    assert right - left == pytest.approx(bottom - top) == pytest.approx(0.875 * min(height, width))
    assert (left + right, top + bottom) == pytest.approx((width, height))


def test_torchvisions_decoder_is_used_for_jpeg_where_it_is_present(root, monkeypatch):
    used = []

    def decoder(path):
        used.append(path)
        return np.asarray(Image.open(path))

    x = data.load("folder", root, image_size=16).samples("test")[0]
    monkeypatch.setattr(decode, "_jpeg_decoder", lambda: decoder)
    assert torch.equal(data.load("folder", root, image_size=16).samples("test")[0], x)
    assert len(used) == 12


def test_the_decoder_of_an_installed_torchvision_agrees_with_pillow(root):
    pytest.importorskip("torchvision.io", exc_type=BROKEN)
    path = root / "train" / "ant" / "000.jpg"
    decoder = decode._jpeg_decoder()
    assert decoder is not None
    difference = decoder(path).astype(int) - np.asarray(Image.open(path)).astype(int)
    assert np.abs(difference).max() <= 8


def test_a_negative_number_of_workers_is_refused(root):
    with pytest.raises(InputError, match="workers=-1"):
        data.load("folder", root, workers=-1)
