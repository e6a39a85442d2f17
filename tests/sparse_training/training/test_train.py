"""Runs of the engine: methods and settings train, give their folder, and repeat bit for bit."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures.stopping import StopError, stop_after
from safetensors.torch import load_file

from commons import InputError
from sparse_training.methods import Static, Training
from sparse_training.runs.checkpoint import save_network
from sparse_training.runs.config import Config
from sparse_training.runs.folder import DamagedCheckpoint
from sparse_training.runs.run import Run
from sparse_training.training.loop import NonFiniteError, PreemptedError, train
from sparse_training.training.passes import Passes

Digits = Callable[..., Config]
Same = Callable[[Path, Path], bool]
GoesOn = Callable[..., bool]
SPARSE = ("mask.density=0.1",)


def test_a_run_folder_is_complete(digits: Digits, tmp_path: Path) -> None:
    config = digits(*SPARSE, "reparam=sign-in")
    seen: list[dict[str, Any]] = []
    summary = train(config, tmp_path / "run", progress=seen.append)
    run = Run(tmp_path / "run")
    assert run.finished
    assert run.config == config
    assert run.epochs == [0, 1, 2]
    assert [line["epoch"] for line in run.metrics()] == [1, 2]
    assert seen == run.metrics()
    assert run.summary["test_accuracy"] == summary.test_accuracy == run.metrics()[-1]["test_accuracy"] > 30
    assert run.environment["seed"] == 0
    assert run.masks().density == pytest.approx(summary.density)
    for epoch in run.epochs:
        masks, weights = run.masks(epoch), run.weights(epoch)
        assert list(weights) == list(masks)
        assert all(not bool(weights[name][~mask].any()) for name, mask in masks.items())
    model = run.model()
    assert not model.training
    assert torch.equal(model.get_parameter("fc1.weight"), run.weights()["fc1.weight"])
    assert sorted(path.suffix for path in (tmp_path / "run" / "checkpoints").iterdir()) == [".safetensors"] * 3


@pytest.mark.parametrize(
    "settings", [(), SPARSE, (*SPARSE, "reparam=sign-in"), ("method=rigl", *SPARSE, "method.every=5")]
)
def test_equal_configurations_repeat_bit_for_bit(
    digits: Digits, same: Same, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    torch.manual_seed(1)
    train(digits(*settings), tmp_path / "a")
    torch.manual_seed(2)  # the caller's random state and threads change nothing
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(digits(*settings), tmp_path / "b")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert same(tmp_path / "a", tmp_path / "b")


def test_another_seed_is_another_run(digits: Digits, same: Same, tmp_path: Path) -> None:
    train(digits(), tmp_path / "a")
    train(digits("seed=1"), tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    "settings",
    [
        ("optimizer=adamw", "schedule=triangular"),
        ("optimizer.nesterov=true", "clip=0.5", "label_smoothing=0.1", "schedule=step", "schedule.drops=[1]"),
        ("engine.precision=bfloat16", "engine.channels_last=true"),
        (*SPARSE, "reparam=ham", "reparam.alpha=20"),
        (*SPARSE, "reparam=spred"),
        (*SPARSE, "reparam=pilot"),
        (*SPARSE, "mask.score=synflow", "reparam=sign-in", "engine.channels_last=true", "clip=1"),
        (*SPARSE, "method=rigl", "method.every=5", "reparam=sign-in"),
        (*SPARSE, "method=acdc", "reparam=sign-in"),
        ("mask.density=0.5", "method=imp", "epochs=1"),
        ("method=str", "method.initial=-5.0"),
    ],
)
def test_settings_train(digits: Digits, tmp_path: Path, settings: tuple[str, ...]) -> None:
    summary = train(digits(*settings, preset="digits-cnn"), tmp_path / "run")
    assert summary.test_accuracy > 30
    run = Run(tmp_path / "run")
    for name, mask in run.masks().items():
        assert not bool(run.weights()[name][~mask].any())


RESUMED = [
    (*SPARSE, "reparam=sign-in", "reset.every=2"),
    (*SPARSE, "optimizer=adamw", "reparam=ham", "reparam.alpha=20"),
    (*SPARSE, "method=rigl", "method.every=5", "reparam=sign-in"),
    (*SPARSE, "method=set"),
    ("mask.density=0.5", "method=imp", "method.rewind=0.2"),
    ("method=str", "method.initial=-5.0"),
    (*SPARSE, "reparam=pilot"),
]


@pytest.mark.parametrize("settings", RESUMED)
def test_a_run_goes_on_bit_for_bit(digits: Digits, goes_on: GoesOn, settings: tuple[str, ...]) -> None:
    assert goes_on(digits("epochs=3", *settings), 1, 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_in_the_middle_of_an_epoch_saves(
    digits: Digits, same: Same, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = digits(*SPARSE, "reparam=sign-in")
    train(config, tmp_path / "whole")
    from sparse_training.runs.optimizers import Cosine

    real, calls = Cosine.factor, []

    def factor(self: Cosine, step: int, steps_per_epoch: int, steps: int) -> float:
        calls.append(step)
        if len(calls) in (7, 30):
            os.kill(os.getpid(), number)
        return real(self, step, steps_per_epoch, steps)

    monkeypatch.setattr(Cosine, "factor", factor)
    handler = signal.getsignal(number)
    for step in (7, 30):
        with pytest.raises(PreemptedError, match=f"after step {step}"):
            train(config, tmp_path / "parts")
    train(config, tmp_path / "parts")
    assert len(calls) == 46  # no step was made twice
    assert signal.getsignal(number) is handler
    assert same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty"])
def test_a_bad_state_is_named_and_the_one_before_it_used(
    digits: Digits, same: Same, tmp_path: Path, damage: str
) -> None:
    config = digits("epochs=4", *SPARSE)
    train(config, tmp_path / "whole")
    with pytest.raises(StopError):
        train(config, tmp_path / "parts", progress=stop_after(3))
    newest = max((tmp_path / "parts" / "checkpoints").glob("state-*"))
    if damage == "foreign":
        with pytest.raises(StopError):
            train(config.with_set(["seed=5"]), tmp_path / "other", progress=stop_after(3))
        newest.write_bytes((tmp_path / "other" / "checkpoints" / newest.name).read_bytes())
    else:
        newest.write_bytes(newest.read_bytes()[: 0 if damage == "empty" else -100])
    with pytest.warns(DamagedCheckpoint, match=newest.name):
        train(config, tmp_path / "parts")
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_a_folder_serves_one_process_and_one_configuration(digits: Digits, tmp_path: Path) -> None:
    def second(metrics: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="in use"):
            train(digits(), tmp_path / "run")

    train(digits(), tmp_path / "run", progress=second)
    with pytest.raises(InputError, match=r"optimizer\.lr is 0\.1 there and 0\.2 here"):
        train(digits("optimizer.lr=0.2"), tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    again: list[dict[str, Any]] = []
    assert train(digits(), tmp_path / "run", progress=again.append).epochs == 2
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    assert len(again) == 2


def test_a_loss_that_is_not_finite_stops_with_step_and_layer(digits: Digits, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"step \d+ .*first bad layer: fc\d.*last good checkpoint: .*") as caught:
        train(digits("optimizer.lr=1e30", "epochs=5"), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not Run(tmp_path / "run").finished


def whole_json(path: Path) -> None:
    """Fail where a JSON file holds NaN or an infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{path} holds {constant}")

    for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
        json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("at", ["end of an epoch", "signal"])
@pytest.mark.parametrize("reparam", ["none", "sign-in"])
def test_a_network_that_is_not_finite_is_never_a_good_state(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, at: str, reparam: str
) -> None:
    """The loss of a step says nothing of the weights that the step makes."""
    step = 2 * 23 if at == "end of an epoch" else 23 + 5

    def poison(method: Static, training: Training) -> None:
        if training.step == step:
            with torch.no_grad():
                next(iter(training.model.parameters())).view(-1)[0] = value
            if at == "signal":
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Static, "on_step", poison)
    config = digits(*SPARSE, "epochs=3", f"reparam={reparam}")
    with pytest.raises(
        NonFiniteError, match=rf"not finite after step {step} .*last good checkpoint: .*state-000000023"
    ):
        train(config, tmp_path / "run")
    assert [line["epoch"] for line in Run(tmp_path / "run").metrics()] == [1]
    for path in (tmp_path / "run").rglob("*.json*"):
        whole_json(path)
    for path in (tmp_path / "run" / "checkpoints").glob("*.safetensors"):
        tensors = load_file(path)
        assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_a_test_loss_that_is_not_finite_is_written_nowhere(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Passes, "evaluate", lambda *_: (float("nan"), 10.0))
    with pytest.raises(NonFiniteError, match="the test loss is not finite after step 23"):
        train(digits(*SPARSE), tmp_path / "run")
    assert Run(tmp_path / "run").metrics() == []
    assert not list((tmp_path / "run" / "checkpoints").glob("state-*"))


def test_a_run_begins_from_a_given_network(digits: Digits, tmp_path: Path) -> None:
    train(digits(*SPARSE), tmp_path / "source")
    source = Run(tmp_path / "source").network()
    save_network(tmp_path / "start.safetensors", source.state, source.masks)
    start = f'start="{tmp_path / "start.safetensors"}"'
    train(digits(start, *SPARSE, "reparam=sign-in"), tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.masks(0) == run.masks() == source.masks
    for name, weight in run.weights(0).items():
        torch.testing.assert_close(weight, source.state[name], rtol=2e-7, atol=0)
    with pytest.raises(InputError, match="another network"):
        train(digits(start, preset="digits-cnn"), tmp_path / "cnn")


def test_a_users_model_trains(digits: Digits, tmp_path: Path) -> None:
    train(digits("model=sparse_training.models.small:cnn", *SPARSE), tmp_path / "run")
    assert isinstance(Run(tmp_path / "run", trust=True).model(), torch.nn.Module)


def test_clip_bounds_the_step_of_the_active_weights(digits: Digits, tmp_path: Path) -> None:
    tiny = ("clip=1e-3", "optimizer.momentum=0", "optimizer.weight_decay=0", "schedule=constant", "optimizer.lr=1")
    train(digits(*SPARSE, *tiny, "epochs=1", "batch_size=1442"), tmp_path / "run")  # one step
    before, after = (Run(tmp_path / "run").network(epoch).state for epoch in (0, 1))
    moved = torch.cat([(after[name] - before[name]).flatten() for name in before]).norm()
    assert float(moved) == pytest.approx(1e-3, rel=1e-2)


def test_tensorboard_is_an_option(digits: Digits, tmp_path: Path) -> None:
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="tensorboard"):
            train(digits("tensorboard=true"), tmp_path / "run")
        return
    train(digits("tensorboard=true"), tmp_path / "run")
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def test_checkpoints_may_be_rarer(digits: Digits, tmp_path: Path) -> None:
    train(digits("epochs=5", "checkpoint.every=2", "checkpoint.resume=3"), tmp_path / "run")
    assert Run(tmp_path / "run").epochs == [0, 2, 4, 5]


def test_resets_come_when_asked() -> None:
    reset = Config().with_set(["reset.every=3", "reset.last=7"]).reset
    assert [epoch for epoch in range(12) if reset.before(epoch)] == [3, 6]
    assert not any(Config().with_set(["reset.every=0"]).reset.before(epoch) for epoch in range(12))


def test_metrics_lines_are_json(digits: Digits, tmp_path: Path) -> None:
    train(digits("epochs=1"), tmp_path / "run")
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert {"epoch", "step", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds"} <= set(
        json.loads(line)
    )


@pytest.mark.parametrize("preset", ["digits-mlp", "digits-cnn"])
@pytest.mark.parametrize("method", ["gradient", "probe"])
def test_a_sign_initialization_changes_the_first_signs_and_nothing_else(
    digits: Digits, same: Same, tmp_path: Path, preset: str, method: str
) -> None:
    settings = (*SPARSE, "epochs=1", "reparam=sign-in", "mask.score=snip")
    signed = (*settings, f"sign_init.name={method}", "sign_init.samples=64")
    drawn = train(digits(*settings, preset=preset), tmp_path / "drawn")
    found = train(digits(*signed, preset=preset), tmp_path / "found")
    train(digits(*signed, preset=preset), tmp_path / "again")
    assert same(tmp_path / "found", tmp_path / "again")
    assert (drawn.sign_passes, found.sign_passes) == (0, 64 * {"gradient": 3, "probe": 9}[method])
    assert Run(tmp_path / "found").summary["sign_passes"] == found.sign_passes
    first, other = (Run(tmp_path / name).network(0) for name in ("drawn", "found"))
    assert first.masks == other.masks
    turned = 0
    for name, value in first.state.items():
        turned += int((value * other.state[name] < 0).sum())
        if name in first.weights():
            torch.testing.assert_close(value.abs(), other.state[name].abs(), rtol=2e-7, atol=0)  # m ⊙ w, rounded
        else:
            assert torch.equal(value, other.state[name])
    assert turned > 20


def test_a_dense_start_gets_signs_for_all_of_its_weights(digits: Digits, tmp_path: Path) -> None:
    train(digits("mask.density=0.2", "method=acdc", "epochs=1", "sign_init.name=gradient"), tmp_path / "run")
    train(digits("mask.density=0.2", "method=acdc", "epochs=1"), tmp_path / "drawn")
    found, drawn = (Run(tmp_path / name).network(0) for name in ("run", "drawn"))
    weights = drawn.weights()
    turned = sum(int((weight * found.weights()[name] < 0).sum()) for name, weight in weights.items())
    # eight gradients may turn a twentieth each
    assert 0.05 < turned / sum(weight.numel() for weight in weights.values()) < 0.4
    assert all(torch.equal(weight.abs(), found.weights()[name].abs()) for name, weight in weights.items())
