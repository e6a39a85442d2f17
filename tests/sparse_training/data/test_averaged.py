"""CIFAR-10 at 16×16: exact means, decoded once, one file mapped by all processes, and never out of date."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_training import data
from sparse_training.data import averaged

CLASSES = tuple(f"class-{index}" for index in range(10))


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_a_pixel_is_the_rounded_mean_of_four(values: list[int]) -> None:
    found = averaged.box_average(torch.tensor(values, dtype=torch.uint8).view(1, 1, 2, 2))
    assert found.item() == int(np.floor(np.mean(values) + 0.5))


def test_files_and_images_at_half_size_agree_with_the_whole_ones(cifar10_binary: tuple[Path, Any]) -> None:
    root, _ = cifar10_binary
    whole, half = (data.load(name, root, augment=False) for name in ("cifar10", "cifar10-16"))
    assert half.shape == (3, 16, 16)
    assert half.classes == whole.classes
    x, y = whole.samples("test")
    small, labels = half.samples("test")
    assert torch.equal(y, labels)
    pixels = [(image * source.std + source.mean).round() for image, source in ((x, whole), (small, half))]
    means = torch.nn.functional.avg_pool2d(pixels[0], 2)
    assert float((means - pixels[1]).abs().max()) <= 0.5


def test_images_are_decoded_once_and_again_when_one_changes(
    tmp_path: Path, write: SimpleNamespace, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    write.images(tmp_path, rng, ("train", "test"), CLASSES, 2, sizes=((32, 32),))
    first = data.load("cifar10-16", tmp_path).samples("train")[0]
    reads: list[Path] = []
    read = averaged.read_tensors
    monkeypatch.setattr(averaged, "read_tensors", lambda path: reads.append(path) or read(path))
    monkeypatch.setattr("sparse_training.data.loading.decode_all", lambda *_: pytest.fail("decoded again"))
    source = data.load("cifar10-16", tmp_path)
    assert torch.equal(source.samples("train")[0], first)
    with open("/proc/self/maps") as maps:
        mapped = maps.read()
    assert os.path.basename(reads[-1]) in mapped  # the pixels are pages of the file, not a copy
    monkeypatch.undo()
    image = tmp_path / "train" / "class-0" / "000.png"
    image.write_bytes((tmp_path / "train" / "class-1" / "000.png").read_bytes())
    assert not torch.equal(data.load("cifar10-16", tmp_path).samples("train")[0], first)
