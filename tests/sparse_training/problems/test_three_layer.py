"""The problem of three layers: its draws, its training against a plain torch loop, and its starts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from commons import InputError
from sparse_training.problems import Measured, Runs, ThreeLayer, measure, three_layer, write_report
from sparse_training.problems.tables import comparison
from sparse_training.problems.three_layer import SIZES, STARTS, TEST, _known_start, draw, outputs
from sparse_training.seeding import generator

SHORT = ThreeLayer(steps=12, sign_samples=100)
ARMS = {arm.label: arm for arm in SHORT.arms()}


@pytest.mark.parametrize("mask", ["teacher", "random"])
def test_draws_are_sparse_and_come_from_the_seed_alone(mask: str) -> None:
    several, single = draw([3, 4, 5], mask), draw([4], mask)
    for many, one in (
        (several.student, single.student),
        (several.teacher, single.teacher),
        (several.masks, single.masks),
    ):
        assert all(torch.equal(layer[1], alone[0]) for layer, alone in zip(many, one, strict=True))
    for student, teacher, own in zip(several.student, several.teacher, several.masks, strict=True):
        assert ((student != 0) == (own > 0)).all()
        assert (((teacher != 0) == (own > 0)).all()) == (mask == "teacher" or own.shape[1] == 1)
    for own in several.masks[:2]:
        assert (own.sum(-1) == 4).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_is_that_of_a_plain_loop(optimizer: str) -> None:
    problem, seed, lr = replace(SHORT, optimizer=optimizer), 7, 0.02
    drawn = draw([seed])
    teacher = [w[0] for w in drawn.teacher]
    weights = [w[0].clone().requires_grad_() for w in drawn.student]
    engine = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](weights, lr=lr)
    x = torch.randn(12, 32, SIZES[0], generator=generator(seed, "three-layer", "batches"))
    for step, batch in enumerate(x):
        engine.param_groups[0]["lr"] = lr * (1 - step / 12)
        engine.zero_grad()
        ((outputs(weights, batch) - outputs(teacher, batch)).square().mean() / 2).backward()
        for weight, mask in zip(weights, drawn.masks, strict=True):
            assert weight.grad is not None
            weight.grad *= mask[0]
        engine.step()
    held = torch.randn(TEST, SIZES[0], generator=generator(seed, "three-layer", "test"))
    y = outputs(teacher, held)
    expected = (outputs(weights, held) - y).square().mean() / y.square().mean()
    found = problem.run(ARMS["plain"], [5, seed], [0.01, lr])
    assert found.loss[1, 1] == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("label", list(ARMS))
def test_every_arm_trains_on_its_support(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(
        begin: list[torch.Tensor], end: list[torch.Tensor], _: object, masks: list[torch.Tensor]
    ) -> dict[str, object]:
        assert all((first != last).any() for first, last in zip(begin, end, strict=True))
        ends.extend(zip(end, masks, strict=True))
        return {}

    monkeypatch.setattr(three_layer, "_measures", keep)
    runs = replace(SHORT, mask="random").run(ARMS[label], [0, 1], [0.02], full=True)
    assert runs.loss.shape == (2, 1)
    assert len(runs.speeds) == len(ends) == 3
    assert (runs.cost > 0) == (ARMS[label].start not in STARTS)
    for weight, mask in ends:
        assert ((weight != 0) == (mask > 0)).all()


def test_starts_take_what_they_say_from_the_teacher() -> None:
    drawn = draw(range(8))
    for name, layers in [("true signs", {0, 1, 2}), ("true bottom signs", {0}), ("true top signs", {2})]:
        for index, (start, own, true) in enumerate(
            zip(_known_start(name, drawn), drawn.student, drawn.teacher, strict=True)
        ):
            assert torch.equal(start.abs(), own.abs())
            assert torch.equal(start.sign(), (true if index in layers else own).sign())
    start = _known_start("right magnitudes, random signs", drawn)
    for ours, own, true in zip(start, drawn.student, drawn.teacher, strict=True):
        assert torch.equal(ours.abs(), true.abs())
        assert torch.equal(ours.sign(), own.sign())


def test_at_the_teacher_there_is_nothing_left_to_learn() -> None:
    problem = replace(SHORT, steps=1)
    drawn = draw([0])
    exact = problem._test_loss([w[:, None] for w in drawn.teacher], [w[:, None] for w in drawn.teacher], [0])
    assert exact.item() == 0
    zero = problem._test_loss([0 * w[:, None] for w in drawn.teacher], [w[:, None] for w in drawn.teacher], [0])
    assert zero.item() == 1


def test_a_report_is_named_by_the_words_of_its_settings(tmp_path: Path) -> None:
    problem = replace(SHORT, optimizer="adam")
    runs = problem.run(ARMS["plain"], [0, 1], [0.02], full=True)
    measured = [Measured(ARMS[label], 0.02, {0.02: 0.5}, runs) for label in ("plain", "true signs")]
    text = write_report(problem, measured, "command", tmp_path)
    assert (tmp_path / "problem-three-layer-adam.md").read_text(encoding="utf-8") == text
    assert (tmp_path / "problem-three-layer-adam.csv").exists()
    record = json.loads((tmp_path / "problem-three-layer-adam.json").read_text(encoding="utf-8"))
    assert record["arms"][1]["measures"]["flips, layer 1"] == runs.measures["flips, layer 1"].ravel().tolist()


def test_only_the_arms_that_are_asked_for_are_measured_with_their_controls() -> None:
    problem = replace(SHORT, steps=3)
    found = measure(problem, 2, 1, only=["Sign-In β = 1"])
    assert [each.arm.label for each in found][:2] == ["plain", "Sign-In β = 1"]
    assert [each.arm.label for each in found][2:] == ["layer rates at the speeds of Sign-In β = 1"]
    with pytest.raises(InputError, match="did you mean plain"):
        measure(problem, 2, 1, only=["plane"])


@pytest.mark.parametrize(("gain", "closed"), [(0.3, 0.5), (0.0, None)])
def test_a_share_of_the_gap_is_told_only_where_there_is_one(gain: float, closed: float | None) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 40, 1))
    losses = {"plain": 0.5 + noise[0], "true signs": 0.5 - gain + noise[1], "sign_init even": 0.5 - gain / 2 + noise[2]}
    runs = {label: Runs(loss, np.zeros(loss.shape, bool)) for label, loss in losses.items()}
    rows = comparison(SHORT, [Measured(ARMS[label], 0.1, {}, found) for label, found in runs.items()])
    assert rows[2]["gap closed"] == (closed and pytest.approx(closed, abs=0.05))
