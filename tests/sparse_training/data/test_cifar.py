"""CIFAR from each of its formats gives the same arrays; damaged or hostile files end in one line and run nothing."""

import hashlib
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from commons import InputError
from sparse_training import data
from sparse_training.data import cifar
from sparse_training.data.pickles import read_pickle


def raw(loaded, split):
    """The images of a loaded set as (n, 3072) uint8, recovered from what it gives out."""
    x, y = loaded.samples(split)
    pixels = (x * loaded.std + loaded.mean).round().byte()
    return pixels.flatten(1).numpy(), y.numpy()


def one_line(refusal):
    return "\n" not in str(refusal.value)


@pytest.mark.parametrize("format", ["pickles", "binary"])
def test_cifar10_is_read_as_written(format, request):
    root, parts = request.getfixturevalue(f"cifar10_{format}")
    loaded = data.load("cifar10", root)
    assert (loaded.n_train, loaded.n_test, loaded.num_classes, loaded.shape) == (100, 20, 10, (3, 32, 32))
    assert loaded.classes[:2] == ("airplane", "automobile")
    for split, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"])):
        pixels, labels = raw(loaded, split)
        assert np.array_equal(pixels, np.concatenate([parts[name][0] for name in names]))
        assert np.array_equal(labels, np.concatenate([parts[name][1] for name in names]))


@pytest.mark.parametrize("format", ["pickle", "binary"])
def test_cifar100_takes_the_fine_label_and_its_names(format, tmp_path, rng, write):
    for name in ("train", "test"):
        pixels, labels = write.draw(rng, 200, 100)
        if format == "pickle":
            write.pickle(tmp_path / name, pixels, labels, "fine_labels")
        else:
            write.binary(tmp_path / f"{name}.bin", pixels, labels // 5, labels)
    names = [f"class{index}" for index in range(100)]
    if format == "pickle":
        (tmp_path / "meta").write_bytes(pickle.dumps({"fine_label_names": names}, 2))
    else:
        (tmp_path / "fine_label_names.txt").write_text("\n".join(names))
    loaded = data.load("cifar100", tmp_path)
    assert loaded.num_classes == 100
    assert loaded.classes == tuple(names)
    assert np.array_equal(raw(loaded, "train")[1], np.arange(200) % 100)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol_are_read(protocol, tmp_path, rng, write):
    pixels, labels = write.draw(rng, 5, 10)
    write.pickle(tmp_path / "batch", pixels, labels, protocol=protocol)
    value = read_pickle(tmp_path / "batch")
    assert np.array_equal(value["data"], pixels)
    assert value["labels"] == labels.tolist()


class Call:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("function", [os.mkdir, eval, getattr, np.load])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(function, tmp_path):
    trap, path = tmp_path / "trap", tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": Call(function, str(trap)), "labels": [0]}))
    with pytest.raises(InputError, match="unsafe") as refusal:
        read_pickle(path)
    assert not trap.exists()
    assert one_line(refusal)


@pytest.mark.parametrize("value", [[1, 2], {"data": np.zeros((2, 3072))}, {"data": np.array([{}], object)}])
def test_pickles_of_anything_but_bytes_are_refused(value, tmp_path):
    (tmp_path / "batch").write_bytes(pickle.dumps(value))
    with pytest.raises(InputError, match="unsafe"):
        read_pickle(tmp_path / "batch")


def test_every_truncation_of_a_pickle_is_refused_in_one_line(tmp_path, rng, write):
    path = tmp_path / "batch"
    write.pickle(path, *write.draw(rng, 1, 10))
    whole = path.read_bytes()
    for length in [*range(200), *range(200, len(whole), 97)]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as refusal:
            read_pickle(path)
        assert one_line(refusal)


def test_flipped_bits_never_raise_anything_but_one_line(tmp_path, rng, write):
    path = tmp_path / "batch"
    write.pickle(path, *write.draw(rng, 1, 10))
    whole = bytearray(path.read_bytes())
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(200)] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            read_pickle(path)
        except InputError as refusal:
            assert "\n" not in str(refusal)  # noqa: PT017


@pytest.fixture
def official(cifar10_pickles, monkeypatch):
    """The miniature set taken for the official one: its checksums and counts are the published ones."""
    root, _ = cifar10_pickles
    folder = root / "cifar-10-batches-py"
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in cifar.CIFAR10.md5}
    monkeypatch.setitem(cifar.EDITIONS, "cifar10", replace(cifar.CIFAR10, md5=sums, official_counts=(20, 20)))
    return root


def test_official_files_are_known_by_their_checksums(official):
    assert cifar.read(cifar.find(cifar.EDITIONS["cifar10"], official)).official


def test_a_changed_official_file_is_refused(official):
    path = official / "cifar-10-batches-py" / "data_batch_3"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # within the pixels: still a valid pickle of the same length
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"data_batch_3.*checksum"):
        data.load("cifar10", official)


def test_files_of_other_lengths_load_but_are_not_called_official(cifar10_pickles):
    root, _ = cifar10_pickles
    assert not cifar.read(cifar.find(cifar.CIFAR10, root)).official


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-1], "truncated"),
        (lambda content: b"", "no image"),
        (lambda content: b"\x0a" + content[1:], r"label 10 of image 0"),
    ],
)
def test_damaged_binary_files_are_refused_by_name(damage, words, cifar10_binary):
    path = cifar10_binary[0] / "cifar-10-batches-bin" / "data_batch_2.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"data_batch_2.bin.*{words}") as refusal:
        data.load("cifar10", cifar10_binary[0])
    assert one_line(refusal)


def test_a_missing_file_is_named(cifar10_binary):
    (cifar10_binary[0] / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    with pytest.raises(InputError, match=r"lacks data_batch_4\.bin"):
        data.load("cifar10", cifar10_binary[0])


def test_labels_must_match_images_and_the_edition(tmp_path, rng, write):
    pixels, labels = write.draw(rng, 20, 10)
    for name in ("train", "test"):
        write.pickle(tmp_path / name, pixels, labels[:-1], "fine_labels")
    with pytest.raises(InputError, match="20 images but 19"):
        data.load("cifar100", tmp_path)
    for name in ("train", "test"):
        write.pickle(tmp_path / name, pixels, labels, "labels")
    with pytest.raises(InputError, match="fine_labels"):
        data.load("cifar100", tmp_path)


@pytest.mark.parametrize("label", [-1, 10, 2**70, "cat", None])
def test_a_label_that_is_none_of_the_classes_is_refused(label, cifar10_pickles):
    path = cifar10_pickles[0] / "cifar-10-batches-py" / "test_batch"
    pixels, labels = cifar10_pickles[1]["test_batch"]
    path.write_bytes(pickle.dumps({"data": pixels, "labels": [*labels.tolist()[:-1], label]}))
    with pytest.raises(InputError, match=r"test_batch.*label"):
        data.load("cifar10", cifar10_pickles[0])


@pytest.mark.parametrize("names", [5, ["one"], None])
def test_class_names_of_another_number_give_way_to_the_editions_own(names, cifar10_pickles):
    meta = cifar10_pickles[0] / "cifar-10-batches-py" / "batches.meta"
    meta.write_bytes(pickle.dumps({"label_names": names}))
    assert data.load("cifar10", cifar10_pickles[0]).classes == cifar.CIFAR10.classes


def test_image_folders_of_another_class_count_are_refused(tmp_path, rng, write):
    write.images(tmp_path, rng, ("train", "test"), ("cat", "dog"), 2, ((32, 32),))
    with pytest.raises(InputError, match=r"cifar10 has 10 classes, but .* has 2"):
        data.load("cifar10", tmp_path)


def test_cifar_from_image_folders_equals_cifar_from_binary_files(cifar10_binary, tmp_path):
    from PIL import Image

    root, parts = cifar10_binary
    for name, (pixels, labels) in parts.items():
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            folder = tmp_path / "images" / ("test" if name == "test_batch" else "train") / cifar.CIFAR10.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.reshape(3, 32, 32).transpose(1, 2, 0)).save(folder / f"{name}-{index}.png")
    one, other = data.load("cifar10", root), data.load("cifar10", tmp_path / "images")
    assert one.classes == other.classes
    assert torch.equal(one.mean, other.mean)
    assert {row.tobytes() for row in raw(one, "train")[0]} == {row.tobytes() for row in raw(other, "train")[0]}
