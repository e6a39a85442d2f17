"""Data sets in miniature, written as their distributors write them."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image


def draw(rng, n, classes):
    """Pixels (n, 3072) uint8 and labels (n,), every class in turn."""
    return rng.integers(0, 256, (n, 3072), dtype=np.uint8), np.arange(n) % classes


def write_pickle(path: Path, pixels, labels, key="labels", protocol=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({b"data": pixels, key.encode(): [int(label) for label in labels]}, protocol))


def write_binary(path: Path, pixels, *labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [np.asarray(label, np.uint8)[:, None] for label in labels]
    path.write_bytes(np.concatenate([*columns, pixels], axis=1).tobytes())


def write_images(root: Path, rng, splits, classes, per_class, sizes=((8, 8),), suffix=".png"):
    """Images of random pixels as SPLIT/CLASS/IMAGE, with heights and widths taken in turn from sizes."""
    for split in splits:
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for index in range(per_class):
                height, width = sizes[index % len(sizes)]
                image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
                image.save(root / split / name / f"{index:03d}{suffix}")


@pytest.fixture
def write():
    """The functions above, for tests that need other files than the fixtures below."""
    return SimpleNamespace(draw=draw, pickle=write_pickle, binary=write_binary, images=write_images)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def user_cache(tmp_path_factory, monkeypatch):
    """A cache folder of the test's own in place of the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def cifar10_pickles(tmp_path, rng):
    parts = {name: draw(rng, 20, 10) for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]}
    for name, (pixels, labels) in parts.items():
        write_pickle(tmp_path / "cifar-10-batches-py" / name, pixels, labels)
    return tmp_path, parts


@pytest.fixture
def cifar10_binary(tmp_path, rng):
    parts = {name: draw(rng, 20, 10) for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]}
    for name, (pixels, labels) in parts.items():
        write_binary(tmp_path / "cifar-10-batches-bin" / f"{name}.bin", pixels, labels)
    return tmp_path, parts
