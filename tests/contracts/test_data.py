"""The contract of every registered data set; who registers one that needs no files gets it for free.

Those that need files are generated below in miniature, except the two whose files must be the official thousands.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from commons import InputError
from sparse_training import data


def write_images(root: Path, sides: tuple[int, ...], classes: int = 3) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("test", 3)):
        for label in range(classes):
            folder = root / split / f"class-{label}"
            folder.mkdir(parents=True)
            for index in range(count):
                side = sides[index % len(sides)]
                Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"{index}.png")


def write_cifar(root: Path, names: tuple[str, ...], classes: int, label_bytes: int) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        labels = np.arange(classes, dtype=np.uint8)[:, None].repeat(label_bytes, 1)
        pixels = rng.integers(0, 256, (classes, 3072), dtype=np.uint8)
        (root / f"{name}.bin").write_bytes(np.concatenate((labels, pixels), 1).tobytes())


def write_text(root: Path) -> None:
    for name in ("one", "two", "three"):
        (root / name).write_text("".join(f"{name} {index}\n" for index in range(40)))


BATCHES = (*(f"data_batch_{index}" for index in range(1, 6)), "test_batch")
FILES: dict[str, tuple[str, Callable[[Path], None], dict[str, Any]]] = {
    "cifar10": ("cifar10", lambda root: write_cifar(root, BATCHES, 10, 1), {}),
    "cifar10-16": ("cifar10-16", lambda root: write_cifar(root, BATCHES, 10, 1), {}),
    "cifar100": ("cifar100", lambda root: write_cifar(root, ("train", "test"), 100, 2), {}),
    "folder": ("folder", lambda root: write_images(root, (9,)), {}),
    "folder of large images": ("folder", lambda root: write_images(root, (70, 80)), {"image_size": 12, "workers": 2}),
    "text": ("text", lambda root: write_text(root), {"context": 9}),
}
CROPS = {"python-text": {"context": 16, "crops": 23, "test_crops": 15}}
NAMES = [name for name in data.DATASETS if name not in (*FILES, "imagenet")] + list(FILES)


@pytest.fixture(params=NAMES)
def load(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., data.Data]:
    """`load(**options)` of one data set."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param not in FILES:
        return lambda **options: data.load(request.param, **{**CROPS.get(request.param, {}), **options})
    name, write, fixed = FILES[request.param]
    (tmp_path / "root").mkdir()
    write(tmp_path / "root")
    return lambda **options: data.load(name, tmp_path / "root", **{**fixed, **options})


def joined(batches: Any) -> tuple[Tensor, Tensor]:
    parts = list(batches)
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def images(x: Tensor) -> list[bytes]:
    return sorted(image.numpy().tobytes() for image in x)


def test_batches_are_of_the_stated_shapes_types_and_counts(load: Callable[..., data.Data]) -> None:
    source = load()
    for batches, count in ((source.train(0, 7, seed=0), source.n_train), (source.test(7), source.n_test)):
        sizes = []
        for x, y in batches:
            assert (x.dtype, y.dtype) == (torch.int64 if source.targets > 1 else torch.float32, torch.int64)
            assert x.shape == (len(y), *source.shape)
            assert y.numel() == len(y) * source.targets
            assert bool(x.isfinite().all())
            assert int(y.min()) >= 0
            assert int(y.max()) < source.num_classes == len(source.classes)
            sizes.append(len(y))
        assert sizes == [7] * (count // 7) + [count % 7] * (count % 7 > 0)


def test_an_epoch_comes_from_its_seed_and_number_alone(load: Callable[..., data.Data]) -> None:
    source = load()
    state = torch.get_rng_state()
    x, y = joined(source.train(3, 7, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    for again in (source, load()):
        other, labels = joined(again.train(3, 11, seed=1))
        assert torch.equal(other, x)
        assert torch.equal(labels, y)
    for epoch, seed in ((4, 1), (3, 2)):
        assert not torch.equal(joined(source.train(epoch, 7, seed=seed))[1], y)


def test_processes_share_an_epoch(load: Callable[..., data.Data]) -> None:
    source = load()
    x, y = joined(source.train(2, 7, seed=0))
    even = source.n_train - source.n_train % 2
    for rank in (0, 1):
        part, labels = joined(source.train(2, 5, seed=0, rank=rank, world=2))
        assert torch.equal(part, x[rank:even:2])
        assert torch.equal(labels, y[rank:even:2])


def test_without_augmentation_an_epoch_is_the_training_set(load: Callable[..., data.Data]) -> None:
    source = load(augment=False)
    x, y = joined(source.train(0, 7, seed=0))
    whole, labels = source.samples("train")
    assert images(x) == images(whole)
    assert torch.equal(y.flatten().sort().values, labels.flatten().sort().values)


def test_samples_are_drawn_by_the_seed_without_replacement(load: Callable[..., data.Data]) -> None:
    source = load()
    whole, labels = source.samples("test")
    assert torch.equal(joined(source.test(5))[0], whole)
    x, y = source.samples("test", 6, seed=3)
    assert torch.equal(x, source.samples("test", 6, seed=3)[0])
    assert len(y) == 6
    assert set(images(x)) <= set(images(whole))
    drawn, every = source.samples("test", source.n_test, seed=3), (whole, labels)
    assert images(drawn[0]) == images(every[0])
    with pytest.raises(InputError, match="n="):
        source.samples("test", source.n_test + 1)


def test_a_size_that_the_images_do_not_have_is_refused_or_obeyed(load: Callable[..., data.Data]) -> None:
    source = load()
    if source.targets > 1:
        with pytest.raises(InputError, match="image_size"):
            load(image_size=16)
        return
    assert load(image_size=source.shape[1]).shape == source.shape
    try:
        assert load(image_size=16).shape[1:] == (16, 16)
    except InputError as refusal:
        assert f"image_size=16 is not {source.shape[1]}" in str(refusal)  # noqa: PT017
