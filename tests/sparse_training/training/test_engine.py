"""How a run is computed: what each precision means, that compiled is compiled, and that a finished run is let go."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from commons import InputError
from sparse_training.devices import float32_products
from sparse_training.masks import make_masks
from sparse_training.masks.scores import Scores, Setting
from sparse_training.runs.config import Config
from sparse_training.training import loop
from sparse_training.training.loop import train


def precision() -> list[object]:
    """Torch's settings of float32 products, some of which cannot be read where its old and new API were mixed."""
    backends: Any = torch.backends
    kinds = [(backends.cuda, "matmul"), (backends.cudnn, "conv"), (backends.cudnn, "rnn"), (backends.mkldnn, "matmul")]
    found: list[object] = [getattr(getattr(b, name, None), "fp32_precision", None) for b, name in kinds]
    old: list[Callable[[], object]] = [lambda: backends.cuda.matmul.allow_tf32, lambda: backends.cudnn.allow_tf32]
    for read in (*old, torch.get_float32_matmul_precision):
        try:
            found.append(read())
        except RuntimeError:
            found.append("mixed")
    return found


def test_tf32_is_used_or_not_as_asked_and_what_was_set_before_comes_back() -> None:
    backends: Any = torch.backends
    first = precision()
    befores: list[Callable[[], object]] = [
        lambda: None,
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision("highest"),
    ]
    if hasattr(backends.cudnn, "conv"):
        befores.append(lambda: setattr(backends.cudnn.conv, "fp32_precision", "ieee"))
    try:
        for change in befores:
            change()
            before = precision()
            for tf32 in (False, True):
                with float32_products(tf32):
                    assert (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32) == (tf32, tf32)
                    with float32_products(not tf32):
                        assert backends.cuda.matmul.allow_tf32 is not tf32
                    assert (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32) == (tf32, tf32)
                assert precision() == before
    finally:
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = True
        backends.cuda.matmul.fp32_precision = first[0]
        backends.mkldnn.matmul.fp32_precision = first[3]
    assert precision() == first


def test_masks_are_scored_without_tf32() -> None:
    seen: list[bool] = []

    def score(setting: Setting) -> Scores:
        seen.append(torch.backends.cudnn.allow_tf32)
        return {name: weight.detach().abs() for name, weight in setting.weights.items()}

    make_masks(torch.nn.Linear(4, 4), 0.5, _registered(score))
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32


def _registered(score: Callable[[Setting], Scores]) -> str:
    globals()["scored"] = score
    return f"{__name__}:scored"


def test_tf32_is_refused_where_there_is_none(digits: Callable[..., Config], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"engine\.precision='tf32' is not float32 or bfloat16 on cpu"):
        train(digits("engine.precision=tf32"), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch of its own compiler
def test_each_of_many_networks_in_a_process_is_compiled(
    digits: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            calls.append(0)
            return graph(*args)

        return run

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_(model, backend=backend))
    counts = []
    for index in range(6):
        calls.clear()
        train(digits("engine.compile=true", "reparam=sign-in", "mask.density=0.1"), tmp_path / f"{index}")
        counts.append(len(calls))
    assert counts == [counts[0]] * 6
    assert counts[0] >= 2 * (1400 // 128 + 300 // 128)  # full batches of two epochs, of training and of testing


@pytest.mark.parametrize("reparam", ["none", "sign-in", "unit-speed"])
def test_nothing_of_a_finished_run_stays(
    digits: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reparam: str
) -> None:
    kept: list[Any] = []
    prepare = loop.prepare

    def prepared(*args: Any) -> Any:
        run = prepare(*args)
        kept[:] = [weakref.ref(part) for part in (run.training.model, run.training.optimizer, run.passes)]
        return run

    monkeypatch.setattr(loop, "prepare", prepared)
    settings = ("epochs=1", f"reparam={reparam}", "mask.density=0.1")
    train(digits(*settings), tmp_path / "first")  # what torch imports late leaves a cycle once
    gc.collect()
    gc.disable()
    try:
        train(digits(*settings), tmp_path / "second")
        assert [part() for part in kept] == [None, None, None]
    finally:
        gc.enable()
