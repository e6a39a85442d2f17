"""Laws of each method, watched at every step of real runs on digits: support, momentum, counts, and idle steps."""

import dataclasses
import inspect
import itertools
import re
import signal
from pathlib import Path

import pytest
import torch

from commons import InputError
from sparse_training.masks import Masks
from sparse_training.methods import GMP, METHODS, RiGL
from sparse_training.methods.schedules import alternating, levels
from sparse_training.methods.soft_threshold import SoftThreshold
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.training.loop import PreemptedError, train

STEPS_PER_EPOCH = 6
EPOCHS = 8
REFUSED = {"acdc": ["spred"], "rigl": ["spred"], "set": ["spred"], "str": ["sign-in", "pilot", "spred"]}
EXACT = [name for name in METHODS if name != "str"]
SETTINGS = {"gmp": ["method.every=3"], "rigl": ["method.every=5"], "str": ["method.initial=-5"], "imp": ["epochs=1"],
            "lrr": ["epochs=1"]}  # fmt: skip


def configured(method, *settings, density=0.1):
    fixed = [f"epochs={EPOCHS}", "batch_size=256", f"method={method}", f"mask.density={density}", "checkpoint.every=99"]
    return Config.preset("digits-mlp").with_set([*fixed, "optimizer.weight_decay=0.001"]).with_set(
        [*SETTINGS.get(method, []), *settings]
    )  # fmt: skip


@dataclasses.dataclass
class Moment:
    """What a step left: support, merged weights, optimizer state; and whether a method used its gradient up."""

    masks: Masks
    weights: dict
    momenta: dict
    used: bool


@pytest.fixture
def watch(monkeypatch, tmp_path):
    """Train, and return a Moment a step, that of step 0 (before training) first, with the training itself."""

    def run(config):
        moments, held = [], {}
        kind = type(config.method)
        begin, on_gradient, on_step = kind.begin, kind.on_gradient, kind.on_step

        def snapshot(sparse, used, optimizer=None):
            masks = Masks({name: mask.clone() for name, mask in sparse.masks.items()})
            weights = {name: weight.clone() for name, weight in sparse.weights().items()}
            state = {} if optimizer is None else optimizer.state
            names = {id(p): n for n, p in sparse.model.named_parameters()}
            momenta = {names[id(p)]: s["momentum_buffer"].clone() for p, s in state.items()}
            moments.append(Moment(masks, weights, momenta, used))

        def watched_begin(method, start):
            sparse = begin(method, start)
            snapshot(sparse, False)
            return sparse

        def watched_gradient(method, training, batch):
            held["used"] = on_gradient(method, training, batch)
            return held["used"]

        def watched_step(method, training):
            on_step(method, training)
            held["training"] = training
            snapshot(training.sparse, held["used"], training.optimizer)

        monkeypatch.setattr(kind, "begin", watched_begin)
        monkeypatch.setattr(kind, "on_gradient", watched_gradient)
        monkeypatch.setattr(kind, "on_step", watched_step)
        train(config, tmp_path / "run")
        return moments, held["training"]

    return run


def densities(moments):
    return [moment.masks.density for moment in moments]


def changes(moments):
    """Steps after which the support differs from the one before."""
    return [step for step in range(1, len(moments)) if moments[step].masks != moments[step - 1].masks]


@pytest.mark.parametrize("reparam", ["none", "sign-in", "ham", "pilot", "spred"])
@pytest.mark.parametrize("method", list(METHODS))
def test_the_density_is_met_and_inactive_is_inactive(method, reparam, tmp_path):
    """Every combination of the table: the last network is at its density and 0 off its mask, or it is refused."""
    if reparam in REFUSED.get(method, ()):
        with pytest.raises(InputError, match="is not defined with"):
            configured(method, f"reparam={reparam}")
        return
    config = configured(method, f"reparam={reparam}", "optimizer.lr=0.02", density=0.1137)
    summary = train(config, tmp_path)
    run = Run(tmp_path)
    masks, weights = run.masks(), run.weights()
    if method == "str":
        assert summary.density == masks.density
    else:
        assert masks.active == round(0.1137 * masks.total)
    for name, weight in weights.items():
        assert not weight[~masks[name]].any()
        assert weight.isfinite().all()


@pytest.mark.parametrize("method", list(METHODS))
def test_weights_and_momenta_are_zero_off_the_mask_at_every_step(method, watch):
    moments, _ = watch(configured(method))
    for moment in moments:
        for name, mask in moment.masks.items():
            assert not moment.weights[name][~mask].any()
            if name in moment.momenta:
                assert not moment.momenta[name][~mask].any()


def test_gmp_prunes_on_its_schedule_and_never_gives_back(watch):
    moments, training = watch(configured("gmp"))
    total = training.total_steps
    found = changes(moments)
    first, last = -(-total * 2 // 10), -(-total * 8 // 10)
    assert first <= found[0] <= first + 3
    assert found[-1] == last
    assert all((step - first) % 3 == 0 for step in found[:-1])
    assert densities(moments)[:first] == [1.0] * first
    for before, after in itertools.pairwise(moments):
        assert all(not (after.masks[name] & ~before.masks[name]).any() for name in after.masks)


def test_gmp_keeps_the_largest(watch):
    moments, _ = watch(configured("gmp"))
    for step in changes(moments):
        masks = moments[step].masks
        kept = torch.cat([moments[step].weights[name][mask].abs() for name, mask in masks.items()])
        assert kept.min() > 0


def test_ac_dc_alternates_where_its_phases_say(watch):
    moments, training = watch(configured("acdc"))
    phases = alternating(training.total_steps, 0.1, 0.05, 0.15)
    active = round(0.1 * moments[0].masks.total)
    for phase in phases:
        for step in range(phase.begin, phase.end):
            assert moments[step].masks.active == (moments[step].masks.total if phase.dense else active)
        assert all(moments[s].masks == moments[phase.begin].masks for s in range(phase.begin, phase.end))


def test_ac_dc_decompresses_from_zero_with_no_momentum(watch):
    moments, training = watch(configured("acdc"))
    opened = [phase.begin for phase in alternating(training.total_steps, 0.1, 0.05, 0.15) if phase.dense][1:]
    assert opened
    for step in opened:
        assert not any(momentum.any() for momentum in moments[step].momenta.values())
        for name, before in moments[step - 1].masks.items():
            assert not moments[step].weights[name][~before].any()
            assert torch.equal(moments[step].weights[name] != 0, before & (moments[step].weights[name] != 0))
        assert any(momentum.any() for momentum in moments[step + 1].momenta.values())


@pytest.mark.parametrize("method", ["rigl", "set"])
def test_each_layer_keeps_its_count(method, watch):
    moments, _ = watch(configured(method))
    counts = [[layer.active for layer in moment.masks.layers()] for moment in moments]
    assert len(changes(moments)) > 3
    assert all(count == counts[0] for count in counts)


@pytest.mark.parametrize("reparam", ["none", "ham", "pilot"])
def test_rigl_updates_every_few_steps_in_place_of_the_step_and_ends_early(reparam, watch):
    """Where the update takes the place of the step, nothing that follows a step happens either."""
    moments, training = watch(configured("rigl", f"reparam={reparam}", "optimizer.lr=0.02"))
    found = changes(moments)
    due = [s + 1 for s in range(5, training.total_steps, 5) if s < 0.75 * training.total_steps]
    assert set(found) <= set(due)
    assert [step for step, moment in enumerate(moments) if moment.used] == due
    for step in found:
        for name, mask in moments[step].masks.items():
            both = mask & moments[step - 1].masks[name]
            assert torch.equal(moments[step].weights[name][both], moments[step - 1].weights[name][both])


def test_rigl_grown_weights_start_at_zero_without_momentum(watch):
    moments, _ = watch(configured("rigl"))
    for step in changes(moments):
        for name, mask in moments[step].masks.items():
            grown = mask & ~moments[step - 1].masks[name]
            assert not moments[step].weights[name][grown].any()
            assert not moments[step].momenta[name][grown].any()


def test_rigl_grows_where_the_gradient_is_largest(watch, monkeypatch):
    seen = {}
    inner = RiGL.on_gradient

    def watched(method, training, batch):
        if training.step == 5:
            seen.update({name: gradient.abs() for name, gradient in training.dense_gradient(*batch).items()})
        return inner(method, training, batch)

    monkeypatch.setattr(RiGL, "on_gradient", watched)
    moments, _ = watch(configured("rigl"))
    for name, before in moments[5].masks.items():
        after = moments[6].masks[name]
        grown, left = after & ~before, ~(after | before)
        assert grown.any()
        assert seen[name][grown].min() >= seen[name][left].max()


def test_rigl_replaces_the_share_that_its_cosine_says(watch):
    from sparse_training.methods.schedules import cosine_drop

    moments, training = watch(configured("rigl"))
    for step in changes(moments):
        share = cosine_drop((step - 1) / training.total_steps, 0.3, 0.75)
        for name, mask in moments[step].masks.items():
            assert int((mask & ~moments[step - 1].masks[name]).sum()) <= int(share * int(mask.sum()))


def test_rigl_may_update_and_step(watch):
    moments, _ = watch(configured("rigl", "method.replaces_step=false"))
    assert changes(moments)
    assert not any(moment.used for moment in moments)
    step = changes(moments)[0]
    assert any(not torch.equal(moments[step].weights[n][m], moments[step - 1].weights[n][m])
               for n, m in ((n, m & moments[step - 1].masks[n]) for n, m in moments[step].masks.items()))  # fmt: skip


def test_set_updates_after_each_epoch_but_the_last(watch):
    moments, training = watch(configured("set"))
    ends = list(range(training.steps_per_epoch, training.total_steps, training.steps_per_epoch))
    assert changes(moments) == ends
    for step in ends:
        for name, mask in moments[step].masks.items():
            grown = mask & ~moments[step - 1].masks[name]
            assert 0 < int(grown.sum()) <= 0.3 * int(mask.sum())
            assert not moments[step].weights[name][grown].any()


@pytest.mark.parametrize("method", ["imp", "lrr"])
def test_iterative_pruning_goes_level_by_level(method, watch):
    moments, training = watch(configured(method, density=0.4))
    expected = levels(0.4, 0.2)
    assert training.total_steps == len(expected) * training.cycle_steps
    total = moments[0].masks.total
    for level, density in enumerate(expected):
        for step in range(level * training.cycle_steps, (level + 1) * training.cycle_steps):
            assert moments[step].masks.active == round(density * total)
    for step in changes(moments):
        assert not any(momentum.any() for momentum in moments[step].momenta.values())


@pytest.mark.parametrize("reparam", ["none", "sign-in"])
def test_imp_rewinds_to_the_same_weights_at_every_level(reparam, watch):
    moments, training = watch(configured("imp", f"reparam={reparam}", "reset.every=0", density=0.6))
    rewound = moments[round(0.05 * training.cycle_steps)]
    for step in changes(moments):
        for name, mask in moments[step].masks.items():
            assert torch.equal(moments[step].weights[name], torch.where(mask, rewound.weights[name], 0.0))


def test_lrr_goes_on_from_the_trained_weights(watch):
    moments, _ = watch(configured("lrr", density=0.6))
    for step in changes(moments):
        assert any(
            not torch.equal(moments[step].weights[name][mask], moments[0].weights[name][mask])
            for name, mask in moments[step].masks.items()
        )


def test_the_learning_rate_rewinds_with_the_levels(tmp_path):
    train(configured("lrr", "epochs=2", density=0.6), tmp_path)
    rates = [line["lr"] for line in Run(tmp_path).metrics()]
    assert rates[:2] == rates[2:4] == rates[4:6]


def test_soft_threshold_is_the_papers():
    chart = SoftThreshold(-1.0)
    u = torch.linspace(-2, 2, 401, dtype=torch.float32)
    threshold = torch.sigmoid(torch.tensor(-1.0))
    theta = chart(u)
    assert torch.equal(theta != 0, chart.passes(u))
    torch.testing.assert_close(theta[u.abs() > threshold], (u - u.sign() * threshold)[u.abs() > threshold])
    assert not chart.passes(torch.zeros(1)).any()
    theta.sum().backward()
    slope = chart.s.sigmoid() * (1 - chart.s.sigmoid())
    torch.testing.assert_close(chart.s.grad, -(u.sign() * chart.passes(u)).sum() * slope, atol=1e-5, rtol=0)


def test_str_starts_dense_and_masks_what_its_thresholds_stop(watch):
    moments, training = watch(configured("str"))
    assert densities(moments)[:-1] == [1.0] * (len(moments) - 1)
    for name, mask in moments[-1].masks.items():
        assert torch.equal(moments[-1].weights[name] != 0, mask)
    assert 0 < moments[-1].masks.density < 1
    thresholds = [p.item() for n, p in training.model.named_parameters() if n.endswith(".s")]
    assert len(thresholds) == len(moments[-1].masks)
    assert len(set(thresholds)) == len(thresholds)


def test_weight_decay_alone_moves_a_threshold_up():
    chart = SoftThreshold(-3200.0)
    optimizer = torch.optim.SGD(chart.parameters(), lr=0.5, weight_decay=0.1)
    chart(torch.randn(50)).sum().backward()
    optimizer.step()
    assert chart.s.item() == pytest.approx(-3200 * (1 - 0.05))


@pytest.mark.parametrize(
    ("method", "setting", "message"),
    [
        ("gmp", "method.begin_at=0.9", "method.end_at"),
        ("gmp", "method.every=0", "method.every"),
        ("acdc", "method.final=0.95", "method.final"),
        ("rigl", "method.fraction=1.5", "method.fraction"),
        ("rigl", "method.ever=3", "did you mean every"),
        ("set", "method.fraction=0", "method.fraction"),
        ("imp", "method.share=1", "method.share"),
        ("imp", "method.rewind=1", "method.rewind"),
        ("str", "reparam=sign-in", "str writes each weight itself"),
    ],
)
def test_settings_out_of_range_are_refused(method, setting, message):
    with pytest.raises(InputError, match=message):
        configured(method, setting)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_resumed_run_ends_bit_identical(method, tmp_path):
    """Stopped twice at the end of an epoch, every method goes on to the same weights."""
    config = configured(method)
    train(config, tmp_path / "straight")

    def stop_after(epochs):
        def stop(metrics):
            if metrics["epoch"] == epochs:
                signal.raise_signal(signal.SIGTERM)

        return stop

    for epochs in (2, 3):
        with pytest.raises(PreemptedError):
            train(config, tmp_path / "stopped", progress=stop_after(epochs))
    train(config, tmp_path / "stopped")
    straight, stopped = Run(tmp_path / "straight").network(), Run(tmp_path / "stopped").network()
    assert straight.masks == stopped.masks
    assert all(torch.equal(value, stopped.state[name]) for name, value in straight.state.items())


def test_the_method_that_the_page_adds_trains(tmp_path, monkeypatch):
    """The class in README.md, as printed there, with the imports that it names."""
    page = (Path(inspect.getfile(GMP)).parent / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(@dataclass.*?)```", page, flags=re.DOTALL)
    imports = (
        "from dataclasses import dataclass\nfrom typing import ClassVar\nimport torch\n"
        "from sparse_training.masks import from_scores\nfrom sparse_training.methods import Method, Start, Training\n"
        "from sparse_training.reparam import Sparse\n"
    )
    (tmp_path / "page_method.py").write_text(imports + code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    train(configured("page_method:RandomPruning", "method.at=0.6", density=0.3), tmp_path / "run")
    found = [line["density"] for line in Run(tmp_path / "run", trust=True).metrics()]
    assert found[:4] == [1.0] * 4
    assert found[-1] == pytest.approx(0.3, abs=1e-4)
