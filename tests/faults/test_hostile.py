"""Files from elsewhere that mean harm, and arguments at random: one line each, and none of it is ever run."""

import io
import json
import os
import pickle
import random
import shutil
import struct
import warnings

import numpy as np
import pytest
from faults.injection import HangError, command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from commons import InputError
from dynamics import PhaseDiagram, Sweep
from figures.cli import parser
from sparse_training.data.decode import open_image
from sparse_training.data.pickles import read_pickle
from sparse_training.masks import Masks
from sparse_training.runs.checkpoint import load_network
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.signs import SignHistory
from sparse_training.tensor_files import read_tensors

pytestmark = pytest.mark.faults


def refused(act, *args) -> str:
    """Empty where act returns or refuses in one printable line, else what it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            act(*args)
    except InputError as refusal:
        return "" if str(refusal).isprintable() else f"control characters: {refusal!r}"
    except (Exception, HangError) as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def tensor_file(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="BOOL", shape=(2,), offsets=(0, 2)) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


TENSOR_FILES = [
    tensor_file({"w": entry()}, b"\1\0"),
    tensor_file({"w": entry()}, b"\7\xff"),
    tensor_file({"w": entry()}, b"\1"),
    tensor_file({"w": entry(shape=(2**62, 4))}, b"\1\0"),
    tensor_file({"w": entry(shape=(-2,))}, b"\1\0"),
    tensor_file({"w": entry(offsets=(0, 2**60))}, b"\1\0"),
    tensor_file({"w": entry(offsets=(2, 0))}, b"\1\0"),
    tensor_file({"w": entry(), "v": entry()}, b"\1\0"),
    tensor_file({"w": entry("F4096")}, b"\1\0"),
    tensor_file({"w": entry("F32", (0,), (0, 0))}),
    tensor_file({"w": 3}, b"\1\0"),
    tensor_file({"w": {}}, b"\1\0"),
    tensor_file({"": entry()}, b"\1\0"),
    tensor_file({"a\x1b[2J": entry()}, b"\1\0"),
    tensor_file([1, 2]),
    tensor_file(b"null"),
    tensor_file(b'{"w": ' * 50_000),
    tensor_file(b'{"w": {"dtype": "BOOL", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 2]}}', b"\1\0"),
    tensor_file(b"\xff\xfe"),
    tensor_file({"__metadata__": {"order": 3}, "w": entry()}, b"\1\0"),
    tensor_file({"__metadata__": {"order": "v"}, "w": entry()}, b"\1\0"),
    tensor_file({"__metadata__": {"digest": "0"}, "w": entry()}, b"\1\0"),
]
INFOS = ["{", "[]", "null", "9" * 5000, "[" * 100_000, '{"kind": "network"}', '{"kind": "network", "order": 3}']
ORDERS = [[["w"], ["w"]], [["w"], ["v"]], [["x"], []], [[["w"]], []], [["w"], [], []], "ab", [[], []], [["w"], [None]]]
INFOS += [json.dumps({"kind": "network", "order": order}) for order in ORDERS]
TWO = {"state.w": entry(), "mask.v": entry(offsets=(2, 4))}
TENSOR_FILES += [tensor_file({"__metadata__": {"info": info}, **TWO}, b"\1\0\1\0") for info in INFOS]


def test_hostile_safetensors(tmp_path, ledger):
    path = tmp_path / "h.safetensors"
    for number, whole in enumerate(TENSOR_FILES):
        path.write_bytes(whole)
        for act in (read_tensors, Masks.load, load_network):
            ledger.add("hostile safetensors", refused(act, path), f"{number} {act.__name__}")
        for argv in (["--set", f'mask.file="{path}"'], ["--set", f'start="{path}"']):
            told = command("train", "--preset", "digits-mlp", *argv, "epochs=1", "--out", str(tmp_path / "run"))
            ledger.add(
                "hostile safetensors", told.fault or ("" if told.status == 2 else "accepted"), f"{number} {argv[1]}"
            )
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
    ledger.close()


VALUES = [
    None,
    True,
    -1,
    0,
    1e400,
    float("nan"),
    "",
    "x",
    "\x1b[2J",
    [],
    [[]],
    {},
    {"a": {}},
    10**400,
    [None] * 3,
    "os:system",
]


def test_hostile_json_in_a_folder_from_before_histories(finished, copy, ledger):
    folder, rng = copy(finished), random.Random(0)
    (folder / "history.json").unlink()
    for name, read in (
        ("metrics.jsonl", Run.metrics),
        ("summary.json", lambda run: run.summary),
        ("environment.json", lambda run: run.environment),
    ):
        text = (folder / name).read_text()
        lines = [json.loads(line) for line in text.splitlines()] if name == "metrics.jsonl" else [json.loads(text)]
        for key in lines[0]:
            for value in rng.sample(VALUES, 8):
                (folder / name).write_text("".join(json.dumps({**line, key: value}) + "\n" for line in lines))
                ledger.add("hostile JSON", refused(read, Run(folder)), f"{name} {key}={value!r:.20}")
        (folder / name).write_text(text)
    ledger.close()


def test_hostile_toml(tmp_path, ledger):
    path, rng = tmp_path / "c.toml", random.Random(1)
    tree = Config.preset("digits-mlp").tree()
    texts = [
        "[" * 50_000,
        "x = " + "[" * 50_000,
        "seed = " + "9" * 5000,
        "a = 1\na = 2",
        "\x00",
        "seed = 0x",
        "[data]\n" * 2,
    ]
    texts += [f"{'a.' * 5000}b = 1", 'model = "\\u0000"', 'model = "\x1b"', "epochs = 1e400", "seed = -0", "data = 3"]
    values = [
        "-1",
        "0",
        "nan",
        "inf",
        "1e308",
        "9" * 30,
        '"x"',
        '"\\u001b[2J"',
        "[]",
        "{}",
        "[[]]",
        "true",
        "1979-05-27",
        '"../.."',
    ]
    for key, value in tree.items():
        names = [f"{key}.{name}" for name in value] if isinstance(value, dict) else [key]
        texts += [f"{name} = {other}\n" for name in names for other in rng.sample(values, 5)]
    for number, text in enumerate(texts):
        path.write_text(text)
        told = command("train", "--config", str(path), "--show", "--out", str(tmp_path / "run"))
        ledger.add("hostile TOML", told.fault, f"{number}: {text[:60]!r}")
        if told.status == 0:
            ledger.add("hostile TOML", refused(Config.load, path), text[:60])
    ledger.close()


class Evil:
    """Runs a command when a careless reader unpickles it."""

    def __init__(self, mark) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


def test_hostile_pickles(tmp_path, ledger):
    mark, path, rng = tmp_path / "owned", tmp_path / "data_batch_1", random.Random(2)
    good = pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}, protocol=2)
    bad = [pickle.dumps(Evil(mark), protocol) for protocol in range(6)]
    bad += [pickle.dumps({b"data": Evil(mark), b"labels": Evil(mark)}, protocol) for protocol in range(6)]
    bad += [b"cos\nmkdir\n(S'owned'\ntR.", b"(" * 100_000, b"]" + b"2a" * 20_000, b"c__builtin__\neval\n(S'1'\ntR."]
    bad += [b"\x80\x04\x8d" + b"\xff" * 8, b"\x80\x05\x96" + b"\xff" * 8, b"\x80\x02X\xff\xff\xff\x7f", b"0", b".", b""]
    bad += [good[: rng.randrange(len(good))] for _ in range(30)]
    for _ in range(60):
        damaged = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.choice([rng.randrange(200), -1 - rng.randrange(100)])] = rng.randrange(256)
        bad.append(bytes(damaged))
    for number, whole in enumerate(bad):
        path.write_bytes(whole)
        ledger.add("hostile pickle", refused(read_pickle, path) or ("it ran" if mark.exists() else ""), number)
    ledger.close()


def test_hostile_images(tmp_path, ledger):
    rng = random.Random(3)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for suffix in ("png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm"):
        held = io.BytesIO()
        Image.fromarray(pixels).save(held, suffix)
        path = tmp_path / f"i.{suffix}"
        for turn in range(40):
            damaged = bytearray(held.getvalue())
            for _ in range(rng.randrange(1, 5)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            path.write_bytes(damaged[: rng.randrange(len(damaged))] if turn % 3 == 0 else damaged)
            ledger.add("hostile image", refused(open_image, path), f"{suffix} {turn}")
    ledger.close()


def test_a_data_folder_of_hostile_names_and_files(tmp_path, ledger):
    for number, name in enumerate(["a\x1b[2J", "b\nc", "\udcff", "x" * 250, "-rf", "ü", "a b", "‮"]):
        root = tmp_path / str(number)
        for split in ("train", "test"):
            (root / split / name).mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / split / name / "0.png")
        for argv in (["data", str(root)], ["data", str(root), "--verify"]):
            ledger.add("hostile names", command(*argv).fault, f"{name!r} {argv}")
        os.mkfifo(root / "train" / name / "1.png")
        ledger.add("hostile names", command("data", str(root)).fault, f"{name!r} and a pipe")
    ledger.close()


@pytest.mark.parametrize("reader", [
    Masks.load, load_network, SignHistory, PhaseDiagram.load, Sweep.load, read_pickle, Config.load, open_image,
])  # fmt: skip
def test_random_bytes_to_every_reader(tmp_path, ledger, reader):
    path = tmp_path / "file.png"
    starts = [
        b"",
        b"signs\x00v2",
        b"signs\x00v1",
        b"PK\x03\x04",
        b"\x80\x04",
        struct.pack("<Q", 20),
        b"\x89PNG\r\n\x1a\n",
    ]

    @settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.sampled_from(starts), st.binary(max_size=120))
    def fuzz(start, rest):
        path.write_bytes(start + rest)
        ledger.add("random bytes to a reader", refused(reader, path), f"{reader.__qualname__} {start + rest!r:.60}")

    fuzz()
    ledger.close()


def test_results_that_are_damaged(tmp_path, ledger):
    """A bit of a phase diagram, and words in a table of eigenvalues: refused or told, never drawn as something else."""
    rng, path, table = random.Random(4), tmp_path / "p.npz", tmp_path / "eigenvalues.csv"
    assert command("phase", "--flow", "sign-in", "--grid", "8", "--out", str(path)).status == 0
    whole, expected = path.read_bytes(), PhaseDiagram.load(path)

    def same() -> None:
        found = PhaseDiagram.load(path)
        assert np.array_equal(found.outcome, expected.outcome)
        assert np.array_equal(found.time, expected.time, equal_nan=True)
        assert found.settings == expected.settings

    for turn in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged[: rng.randrange(len(whole))] if turn % 3 == 0 else damaged)
        ledger.add("damaged phase diagram", refused(same), turn)
    row = {"epoch": "1", "quantity": "λ_max", "layer": "", "space": "theta", "value": "2.5", "converged": "True"}
    for key in row:
        for other in ("", "abc", "1e999", "\x1b[2J", "\0"):
            table.write_text(",".join(row) + "\n" + ",".join({**row, key: other}.values()) + "\n")
            told = command("figures", "sharpness", str(table), "--out", str(tmp_path / "f"))
            ledger.add("damaged table", told.fault, f"{key}={other[:20]!r}")
    ledger.close()


WORDS = ["", "nan", "inf", "-1", "0", "0.5", "1e999", "9" * 5000, "3", "x" * 300, "../..", "ünï", "\udcff", "\x1b[2J"]
WORDS += ["a=b", "=", "[", "{", "seed=\x1b", "epochs=-1", "2:4", "a:b", ":", "10%", "mlp", "digits", "cpu", "--", "-"]
SLOW = {"--workers"}  # may start processes


def commands():
    """(words of a command, its options) for every command of `sign-in`."""
    found = []

    def walk(words, level):
        deeper = [action for action in level._actions if action.__class__.__name__ == "_SubParsersAction"]
        for action in deeper:
            for name, child in action.choices.items():
                walk([*words, name], child)
        if not deeper:
            found.append((words, [option for option in level._option_string_actions if option not in ("-h", "--help")]))

    walk([], parser())
    return found


def test_arguments_at_random(tmp_path, ledger, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = [(words, options) for words, options in commands() if words[-1] not in ("reproduce", "theory")]

    @settings(max_examples=400, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.data())
    def fuzz(data):
        words, options = data.draw(st.sampled_from(known))
        option = st.sampled_from([o for o in options if o not in SLOW] or ["--x"])
        pieces = data.draw(st.lists(st.tuples(option, st.sampled_from(WORDS)), max_size=4))
        loose = data.draw(st.lists(st.sampled_from(WORDS), max_size=1))
        argv = [*words, *loose, *(part for piece in pieces for part in piece), "--no-such-option"]
        if data.draw(st.booleans()) and words[-1] not in ("transplant", "ablate", "compare"):
            argv.pop()
        told = command(*argv)
        ledger.add("arguments at random", told.fault, repr(argv)[:200])

    fuzz()
    ledger.close()
