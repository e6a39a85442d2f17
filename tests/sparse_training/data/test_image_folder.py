"""Folders of images: what is listed, decoded once, cached by content; and every bad image in one line."""

import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from commons import InputError
from sparse_training import data
from sparse_training.data import decode, image_folder
from sparse_training.data.resident import Resident

CLASSES = ("ant", "bee", "cow")


@pytest.fixture
def root(tmp_path, rng, write):
    write.images(tmp_path / "set", rng, ("train", "val"), CLASSES, 4)
    return tmp_path / "set"


def test_a_folder_of_small_images_is_read_by_class_and_name(root):
    d = data.load("folder", root)
    assert isinstance(d, Resident)
    assert (d.n_train, d.n_test, d.classes, d.shape) == (12, 12, CLASSES, (3, 8, 8))
    x, y = d.samples("train")
    assert y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    image = np.asarray(Image.open(root / "train" / "bee" / "001.png")).transpose(2, 0, 1)
    assert np.array_equal((x[5] * d.std + d.mean).round().byte().numpy(), image)


def decoded_files(monkeypatch):
    """A list that grows with every file that is decoded from now on."""
    seen = []

    def open_image(path, original=decode.open_image):
        seen.append(path)
        return original(path)

    monkeypatch.setattr(image_folder, "open_image", open_image)
    return seen


def test_images_are_decoded_once_and_again_only_when_their_content_changes(tmp_path, rng, write, monkeypatch):
    root = tmp_path / "set"
    write.images(root, rng, ("train", "val"), CLASSES, 4, suffix=".bmp")
    seen = decoded_files(monkeypatch)
    first = data.load("folder", root).samples("train")
    assert len(seen) == 24
    again = data.load("folder", root).samples("train")
    assert len(seen) == 24
    assert torch.equal(first[0], again[0])
    path = root / "train" / "ant" / "000.bmp"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert not torch.equal(data.load("folder", root).samples("train")[0], first[0])
    assert len(seen) == 48


def test_a_copy_of_the_folder_with_its_cache_is_not_decoded_again(root, tmp_path, monkeypatch):
    data.load("folder", root)
    root.rename(tmp_path / "moved")
    seen = decoded_files(monkeypatch)
    data.load("folder", tmp_path / "moved")
    assert not seen


@pytest.mark.parametrize("damage", ["cut", "flip", "no digest"])
def test_a_damaged_cache_is_replaced(root, monkeypatch, user_cache, damage):
    expected = data.load("folder", root).samples("train")[0]
    (cache,) = (user_cache / "sparse_training").iterdir()
    content = bytearray(cache.read_bytes())
    if damage == "flip":
        content[-5] ^= 1
    cache.write_bytes(
        {"cut": content[:50], "flip": content, "no digest": content.replace(b"digest", b"tsegid")}[damage]
    )
    seen = decoded_files(monkeypatch)
    assert torch.equal(data.load("folder", root).samples("train")[0], expected)
    assert len(seen) == 24
    data.load("folder", root)
    assert len(seen) == 24


def test_the_cache_is_the_users_and_the_folder_of_images_stays_as_it_is(root, user_cache):
    before = sorted(root.rglob("*"))
    data.load("folder", root)
    assert sorted(root.rglob("*")) == before
    assert len(list((user_cache / "sparse_training").iterdir())) == 1


def test_without_any_place_for_a_cache_images_still_load(root, user_cache):
    (user_cache / "sparse_training").write_text("a file in the place of the folder")
    assert data.load("folder", root).n_train == 12


def test_a_pipe_named_as_an_image_is_refused_and_not_waited_for(root):
    os.mkfifo(root / "train" / "bee" / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png.*no regular file"):
        data.load("folder", root)


@pytest.mark.parametrize("name", [b"train/bee/\xff.png", b"train/\xff"])
def test_a_name_that_is_not_utf8_is_refused(root, name):
    path = os.fsencode(root) + b"/" + name
    if name.endswith(b".png"):
        (root / "train" / "bee" / "000.png").rename(os.fsdecode(path))
    else:
        os.mkdir(path)
    with pytest.raises(InputError, match="not UTF-8") as refusal:
        data.load("folder", root)
    assert str(refusal.value).isprintable()


def huge_png(side):
    """A PNG of a few bytes whose header claims side × side pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def jpeg(rng, tmp_path):
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "whole.jpg", quality=95)
    return (tmp_path / "whole.jpg").read_bytes()


@pytest.mark.parametrize("image_size", [None, 16])
@pytest.mark.parametrize("fault", ["empty", "text", "truncated", "huge", "bomb", "folder"])
def test_a_bad_image_ends_in_one_line_with_its_name(fault, image_size, root, rng, tmp_path):
    path = root / "train" / "bee" / "bad.jpg"
    content = {
        "empty": b"",
        "text": b"not an image",
        "truncated": jpeg(rng, tmp_path)[:-200],
        "huge": huge_png(10_000),
        "bomb": huge_png(1_000_000),
    }
    if fault == "folder":
        path.mkdir()
    else:
        path.write_bytes(content[fault])
    with pytest.raises(InputError, match=r"bad\.jpg") as refusal:
        list(data.load("folder", root, image_size=image_size).train(0, 4, 0))
    assert "\n" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_above_the_limit_is_refused_whatever_is_done_with_warnings(tmp_path):
    (tmp_path / "huge.png").write_bytes(huge_png(10_000))
    for function in (decode.open_image, decode.image_size):
        with pytest.raises(InputError, match=r"10000×10000 pixels are more than the limit"):
            function(tmp_path / "huge.png")


def test_every_truncation_of_an_image_is_refused(rng, tmp_path):
    whole, path = jpeg(rng, tmp_path), tmp_path / "cut.jpg"
    for length in range(0, len(whole) - 20, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.jpg"):
            decode.open_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_images_of_every_mode_become_rgb(mode, tmp_path):
    suffix = ".tif" if mode == "CMYK" else ".png"
    image = Image.linear_gradient("L").resize((4, 3)).convert("P") if mode == "P" else Image.new(mode, (4, 3))
    image.save(tmp_path / f"image{suffix}", **({"transparency": b"\0\1"} if mode == "P" else {}))
    assert decode.pixels(decode.open_image(tmp_path / f"image{suffix}")).shape == (3, 3, 4)


def test_images_of_different_sizes_need_an_image_size(tmp_path, rng, write):
    write.images(tmp_path, rng, ("train", "test"), CLASSES, 2, ((8, 8), (9, 8)))
    with pytest.raises(InputError, match=r"001\.png.*9×8.*image_size"):
        data.load("folder", tmp_path)
    assert next(data.load("folder", tmp_path, image_size=8).train(0, 4, 0))[0].shape == (4, 3, 8, 8)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: (root / "val").rename(root / "other"), "neither test/ nor val/"),
        (lambda root: (root / "val" / "bee").rename(root / "val" / "wasp"), "bee, wasp"),
        (lambda root: [path.unlink() for path in (root / "train" / "cow").iterdir()], "class 'cow'"),
        (lambda root: (root / "train").rename(root / "training"), "train/CLASS"),
    ],
)
def test_an_incomplete_folder_is_refused(damage, words, root):
    damage(root)
    with pytest.raises(InputError, match=words):
        data.load("folder", root)


def test_images_without_class_folders_are_refused(tmp_path, rng):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / split / "0.png")
    with pytest.raises(InputError, match="no class folders"):
        data.load("folder", tmp_path)


def test_other_files_and_hidden_folders_are_not_images(root):
    (root / "train" / ".thumbnails").mkdir()
    (root / "train" / "ant" / "notes.txt").write_text("about ants")
    assert data.load("folder", root).n_train == 12


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cifra10", {}, "did you mean cifar10"),
        ("cifar10", {}, "a folder, which data='cifar10' needs"),
        ("cifar10", {"root": "/no/such/folder"}, "an existing folder"),
        ("digits", {"image_size": 32}, "8, the size of digits"),
        ("digits", {"image_size": 0}, "image_size=0"),
    ],
)
def test_wrong_requests_are_refused(name, options, words):
    with pytest.raises(InputError, match=words):
        data.load(name, **options)


def test_an_archive_is_named_but_not_unpacked(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"unpack cifar-10-python\.tar\.gz first"):
        data.load("cifar10", tmp_path)


def test_imagenet_needs_its_thousand_classes(root):
    with pytest.raises(InputError, match=r"imagenet has 1,000 classes, but .* has 3; .* data='folder'"):
        data.load("imagenet", root)
