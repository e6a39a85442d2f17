"""`data DIR` tells what a folder holds, and a mistake ends in one line with status 2."""

import pytest
from PIL import Image

from commons.cli import Parser
from sparse_training.commands.data import register
from sparse_training.data import load

CLASSES = ("ant", "bee", "cow")


def execute(*arguments):
    parser = Parser(prog="program")
    register(parser.add_subparsers())
    return parser.execute(["data", *map(str, arguments)])


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        execute(*arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_cifar_files_are_recognised(cifar10_pickles, capsys):
    assert execute(cifar10_pickles[0]) == 0
    out = capsys.readouterr().out
    for words in ("cifar10: python pickles", "not the official files", "100 images, 10 a class", "20 images", "32×32"):
        assert words in out


def test_binary_files_are_recognised(cifar10_binary, capsys):
    execute(cifar10_binary[0] / "cifar-10-batches-bin")
    assert "cifar10: binary files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("classes", "size", "name"),
    [
        (("ant", "bee"), 8, "folder"),
        (["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"], 32, "cifar10"),
        ([f"class{index:02d}" for index in range(100)], 32, "cifar100"),
        ([f"class{index:02d}" for index in range(100)], 33, "folder"),
        ([f"n{index:08d}" for index in range(1000)], 40, "imagenet"),
    ],
)
def test_image_folders_are_named_as_load_knows_them(classes, size, name, tmp_path, capsys):
    for split in ("train", "val"):
        for kind in classes:
            (tmp_path / split / kind).mkdir(parents=True)
            Image.new("RGB", (size, size)).save(tmp_path / split / kind / "0.png")
    execute(tmp_path)
    assert f" {name}: image files" in capsys.readouterr().out


def test_verify_names_every_bad_image(tmp_path, rng, write, capsys):
    write.images(tmp_path, rng, ("train", "test"), CLASSES, 2)
    assert execute(tmp_path, "--verify") == 0
    for path in ("train/ant/001.png", "test/cow/000.png"):
        (tmp_path / path).write_bytes(b"")
    assert execute(tmp_path, "--verify") == 1
    captured = capsys.readouterr()
    assert "2 images cannot be decoded" in captured.out
    assert "ant/001.png" in captured.err
    assert "cow/000.png" in captured.err


def test_mistakes_end_in_one_line(tmp_path, capsys):
    assert "existing folder" in refusal(capsys, tmp_path / "absent")
    assert "holds no data set" in refusal(capsys, tmp_path)
    (tmp_path / "train" / "ant").mkdir(parents=True)
    assert "neither test/ nor val/" in refusal(capsys, tmp_path)


def test_the_cache_is_listed_and_cleared(tmp_path, rng, write, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write.images(tmp_path / "set", rng, ("train", "test"), CLASSES, 2)
    assert execute("--cache") == 0
    assert "kept      0 files, 0 bytes" in capsys.readouterr().out
    load("folder", tmp_path / "set")
    (tmp_path / "cache" / "sparse_training" / "notes.txt").write_text("not ours")
    (file,) = (tmp_path / "cache").rglob("*.safetensors")
    size = file.stat().st_size
    execute("--cache")
    listed = capsys.readouterr().out
    assert file.name in listed
    assert f"kept      1 files, {size:,} bytes" in listed
    execute("--clear-cache")
    assert f"removed   1 files, {size:,} bytes" in capsys.readouterr().out
    assert [path.name for path in file.parent.iterdir()] == ["notes.txt"]
    assert "dir='x' is not left out with --cache" in refusal(capsys, "x", "--cache")
    assert "dir=None is not a folder with a data set" in refusal(capsys)


def test_baselines_are_kept_with_the_text_that_they_are_of(tmp_path, capsys):
    (tmp_path / "text").write_text("".join(f"line {index} of a text\n" for index in range(500)))
    file = tmp_path / "baselines.csv"
    execute(tmp_path / "text", "--text", "--baselines", "--context", "16", "--test-crops", "5", "--out", file)
    rows = [line.split(",") for line in file.read_text().splitlines()]
    assert rows[0] == ["digest", "test crops", "model", "bits per byte"]
    assert {tuple(row[:2]) for row in rows[1:]} == {(load("text", tmp_path / "text").digest, "5")}
    assert [row[2] for row in rows[1:]][-3:] == ["5-gram (Kneser-Ney)", "zlib", "xz"]
    assert f"wrote {file}" in capsys.readouterr().out
    assert "--baselines" in refusal(capsys, tmp_path / "text", "--text", "--out", file)
