"""Formats of `export`: what each file computes, how small it is, and which requests contradict themselves."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from commons import InputError
from sparse_training import models
from sparse_training.__main__ import parser
from sparse_training.commands import export as command
from sparse_training.export import FORMATS, dense_bytes, export, format_of, onnx_file, semi_structured, with_support
from sparse_training.masks import make_masks
from sparse_training.reparam import sparsify
from sparse_training.runs import Network, load_network
from sparse_training.tensor_files import write_tensors

DISTRIBUTION = {"2:4": (0.5, "2:4")}


def network(model: nn.Module, density: float, distribution: str = "erk") -> Network:
    masks = make_masks(model, density, "random", distribution)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return Network(sparsify(model, masks).state_dict(), masks, {})


ONNX = [name for name, format in FORMATS.items() if format.needs_model]
EVERY = [pytest.param(name, marks=pytest.mark.slow) if name in ONNX else name for name in FORMATS]


@pytest.mark.parametrize("format", EVERY)
def test_every_file_computes_what_the_network_does(format: str, tmp_path: Path) -> None:
    if FORMATS[format].needs_model:
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = models.build("cnn", in_channels=3, seed=0)
    held = network(model, *DISTRIBUTION.get(format, (0.1, "erk")))
    x = torch.randn(5, 3, 8, 8)
    path = tmp_path / f"net{FORMATS[format].suffixes[0]}"
    assert export(held, path, format, model=model, x=x) == format
    with torch.no_grad():
        before = model.eval()(x)
        after = FORMATS[format].read(path, models.build("cnn", in_channels=3, seed=1).eval())(x)
    if FORMATS[format].needs_model:
        assert (before - after).abs().max() <= 1e-5 * max(1.0, float(before.abs().max()))
        import onnx

        onnx.checker.check_model(path)
        assert b"site-packages" not in path.read_bytes()  # no paths of the machine that traced it
    else:
        assert torch.equal(before, after)


@pytest.mark.parametrize(("density", "most"), [(0.1, 0.15), (0.05, 0.08)])
@pytest.mark.parametrize("name", ["mlp", "resnet20"])
def test_a_sparse_file_is_small(name: str, density: float, most: float, tmp_path: Path) -> None:
    held = network(models.build(name), density)
    export(held, tmp_path / "net.safetensors", "safetensors-sparse")
    assert (tmp_path / "net.safetensors").stat().st_size <= most * dense_bytes(held)
    assert load_network(tmp_path / "net.safetensors").masks == held.masks


@pytest.mark.slow
def test_a_compressed_graph_is_small(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    model = models.build("resnet20")
    held = network(model, 0.1)
    export(held, tmp_path / "net.onnx", model=model, x=torch.randn(2, 3, 32, 32))
    assert (tmp_path / "net.onnx").stat().st_size <= 0.15 * dense_bytes(held)


@given(
    places=st.sets(st.integers(0, 2000) | st.sampled_from([0, 1, 254, 255, 256, 510, 511]), max_size=9),
    size=st.integers(2001, 2010),
)
def test_running_sums_of_steps_are_the_places(places: set[int], size: int) -> None:
    dense = np.zeros((1, size), np.float32)
    dense[0, sorted(places)] = 1 + np.arange(len(places))
    values, steps = onnx_file.steps_of(dense)
    assert steps.dtype == np.uint8
    assert (steps[1:] > 0).all()  # no place twice
    back = np.zeros(size, np.float32)
    back[np.cumsum(steps, dtype=np.int64)] = values
    assert np.array_equal(back, dense[0])
    assert len(steps) <= len(places) + 2000 // 255 + 1


def test_csr_holds_matrices_that_the_lines_of_the_page_open(tmp_path: Path) -> None:
    held = network(models.build("cnn", in_channels=3), 0.1)
    export(held, tmp_path / "net.pt", "csr")
    saved = torch.load(tmp_path / "net.pt", weights_only=True)
    shapes = saved["shapes"]
    state = {n: w.to_dense().view(shapes[n]) if n in shapes else w for n, w in saved["state_dict"].items()}
    assert all(torch.equal(state[name], value) for name, value in held.state.items())
    matrix = saved["state_dict"]["conv2.weight"]
    assert matrix.layout == torch.sparse_csr
    assert matrix.values().numel() == int((held.masks or {})["conv2.weight"].sum())


def test_the_extension_decides_and_contradictions_are_refused() -> None:
    assert [format_of(f"a.{end}") for end in ("safetensors", "pt", "pth", "onnx")] == [
        "safetensors",
        "pt",
        "pt",
        "onnx",
    ]
    assert format_of("a.pt", "csr") == "csr"
    with pytest.raises(
        InputError, match=r"out='a.bin' is not a file with the extension .onnx, .pt, .pth, .safetensors"
    ):
        format_of("a.bin")
    with pytest.raises(InputError, match=r"out='a.onnx' is not a file with the extension .safetensors of 2:4"):
        format_of("a.onnx", "2:4")
    assert tuple(FORMATS) == command.FORMATS


def test_masks_that_are_not_2_in_4_are_refused(tmp_path: Path) -> None:
    held = network(models.build("mlp"), 0.6)
    with pytest.raises(InputError, match=r"fc1.weight: mask='[34] active weights among inputs"):
        export(held, tmp_path / "net.safetensors", "2:4")
    assert list(tmp_path.iterdir()) == []


def test_support_is_taken_from_zeros_only_where_they_are_many() -> None:
    held = network(models.build("mlp"), 0.1, "uniform")
    bare = Network(held.state, None, {})
    assert with_support(bare).masks == held.masks
    dense = Network(models.build("mlp").state_dict(), None, {})
    assert with_support(dense) is dense


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "run"
    arguments = [
        "--preset",
        "digits-mlp",
        "--density",
        "0.05",
        "--device",
        "cpu",
        "--epochs",
        "1",
        "--reparam",
        "sign-in",
    ]
    assert parser().execute(["train", *arguments, "--out", str(folder)]) == 0
    return folder


def test_a_run_is_exported_with_its_sizes_and_accuracies(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.safetensors"
    assert parser().execute(["export", str(run), "--out", str(file), "--format", "safetensors-sparse"]) == 0
    *lines, wrote, then = capsys.readouterr().out.splitlines()[-5:]
    assert wrote == f"wrote {file}"
    assert parser().execute(shlex.split(then.removeprefix("next  python -m sparse_training "))) == 0
    assert "same %" in capsys.readouterr().out
    assert lines[0].endswith("as safetensors-sparse")
    state = load_network(file).state
    assert lines[1].startswith(f"bytes     {sum(4 * value.numel() for value in state.values()):,} dense, ")
    accuracy = lines[2].split()[1]
    assert lines[2] == f"accuracy  {accuracy} % before, {accuracy} % after, on 355 test samples"
    assert f"{float(accuracy):.6g}"[:4] in (run / "summary.json").read_text()
    copy = tmp_path / "copy.pt"
    named = ["--model", "mlp", "--data", "digits"]
    assert parser().execute(["export", str(file), "--out", str(copy), "--format", "csr", *named]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [lines[2], f"wrote {copy}"]


def test_of_a_run_only_the_place_of_its_data_can_be_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().execute(["export", str(run), "--out", str(tmp_path / "net.pt"), "--data", "digits"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "data='digits' is not left out" in line
    assert "--data-root" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--out", "e.bin"], "out='e.bin' is not a file with the extension"),
        (["RUN", "--out", "e.pt", "--format", "onnx"], "out='e.pt' is not a file with the extension .onnx of onnx"),
        (["FILE", "--out", "e.onnx"], "model=None is not the network of the checkpoint, which ONNX needs"),
        (["FILE", "--out", "e.pt", "--epoch", "1"], "epoch=1 is not an option of"),
        (["RUN", "--out", "e.pt", "--samples", "-1"], "samples=-1 is not"),
        (["FILE", "--out", "e.pt", "--model", "cnn"], "cannot be loaded: Error(s) in loading state_dict for"),
        (["FOLDER", "--out", "e.pt"], "is not the folder of a run: it has no config.toml"),
        (["missing", "--out", "e.pt"], "cannot be"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    file = next((run / "checkpoints").glob("epoch-*.safetensors"))
    words = [{"RUN": str(run), "FILE": str(file), "FOLDER": str(file.parent)}.get(word, word) for word in arguments]
    with pytest.raises(SystemExit) as ended:
        parser().execute(["export", *words])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_tied_weight_may_be_stored_once_and_in_the_folder_of_save_pretrained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_tied.py").write_text(
        "from torch import nn\n\ndef network():\n    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))\n"
        "    model[1].weight = model[0].weight\n    return model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = models.build("own_tied:network")
    once = {name: value.clone() for name, value in model.state_dict().items() if name != "1.weight"}
    (tmp_path / "saved").mkdir()
    write_tensors(tmp_path / "saved" / "model.safetensors", once, {})
    words = ["export", str(tmp_path / "saved"), "--model", "own_tied:network", "--out", str(tmp_path / "net.pt")]
    assert parser().execute(words) == 0
    assert "3 tensors, 24 numbers" in capsys.readouterr().out
    again = models.build("own_tied:network", seed=1)
    FORMATS["pt"].read(tmp_path / "net.pt", again)
    assert torch.equal(again[1].weight, model[0].weight)


@pytest.mark.slow
def test_a_graph_that_cannot_be_traced_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript")

    class Branching(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if x.sum() > 0 else x

    held = Network(nn.Linear(4, 4).state_dict())
    cases = {
        r"is not a network of inputs \(B, 3\) torch.float32; .* --data; it raised RuntimeError": (nn.Linear(4, 4), 3),
        "model='Branching' is not one that torch.onnx can trace; ": (Branching(4, 4), 4),
    }
    for message, (model, width) in cases.items():
        with pytest.raises(InputError, match=message) as refused:
            export(held, tmp_path / "net.onnx", model=model, x=torch.randn(2, width))
        assert "\n" not in str(refused.value)
    assert "Traceback" not in "".join(capfd.readouterr())
    assert list(tmp_path.iterdir()) == []


def test_packed_kernels_are_refused_where_torch_has_none() -> None:
    model = models.build("mlp")
    masks = make_masks(model, 0.5, "random", "2:4")
    with pytest.raises(InputError, match="model='cpu' is not on a CUDA device, where torch has 2:4 kernels"):
        semi_structured(model, masks)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_packed_kernels_compute_what_the_network_does() -> None:
    model = models.build("mlp", in_channels=3, image_size=32).half().cuda()
    masks = make_masks(model, 0.5, "magnitude", "2:4")
    sparsify(model, masks)
    x = torch.randn(64, 3, 32, 32, device="cuda", dtype=torch.float16)
    with torch.no_grad():
        before = model(x)
        assert semi_structured(model, masks) == []  # 300 and 100 units: no size that the kernels have
        wide = nn.Linear(256, 128, bias=False).half().cuda()
        own = make_masks(wide, 0.5, "magnitude", "2:4")
        sparsify(wide, own)
        y = torch.randn(64, 256, device="cuda", dtype=torch.float16)
        dense = wide(y)
        assert semi_structured(wide, own) == ["weight"]
        assert torch.allclose(wide(y), dense, rtol=1e-2, atol=1e-2)
    assert torch.equal(model(x), before)
