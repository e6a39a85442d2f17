"""Laws of a transplanted start: each factor comes from where the cell says, and the mask is kept to the weight."""

import pytest
import torch

from commons import InputError
from sparse_training.masks import Masks
from sparse_training.transplant import Cell, Source, build_start

SHAPES = {"one.weight": (20, 10), "two.weight": (5, 20)}


def network(seed):
    rng = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=rng) for name, shape in SHAPES.items()}
    return {**state, "two.bias": torch.randn(5, generator=rng)}


@pytest.fixture
def source():
    """A run whose weights are 0 off its mask, with some exact zeros on it and signs that are missing at epoch 3."""
    rng = torch.Generator().manual_seed(9)
    masks = Masks({name: torch.rand(shape, generator=rng) < 0.3 for name, shape in SHAPES.items()})
    final = network(1)
    for name, mask in masks.items():
        final[name] = final[name] * mask
    final["one.weight"][masks["one.weight"].nonzero()[0].tolist()] = 0.0
    third = {
        name: torch.sign(weight) * (torch.arange(weight.numel()).view_as(weight) % 4 != 0)
        for name, weight in network(3).items()
        if name in masks
    }
    return Source(init=network(0), final=final, masks=masks, signs=lambda epoch: {3: third}[epoch])


FRESH = network(100)
CELLS = [
    Cell(mask, signs, magnitudes, rest)
    for mask in ("learned", "shuffled")
    for signs in ("init", "epoch:3", "final", "random", "perturbed:0.3")
    for magnitudes in ("init", "learned", "random", "constant")
    for rest in ("init", "learned")
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.label)
def test_every_weight_of_the_mask_lives_and_no_other(cell, source):
    start = build_start(cell, source, FRESH, seed=5)
    for name, mask in start.masks.items():
        assert torch.equal(start.state[name] != 0, mask)
    assert [layer.active for layer in start.masks.layers()] == [layer.active for layer in source.masks.layers()]
    assert start.masks == source.masks or cell.mask == "shuffled"


def magnitudes_of(kind, source):
    if kind == "constant":
        return {n: source.init[n].square().mean().sqrt().expand(s) for n, s in SHAPES.items()}
    return {n: {"init": source.init, "learned": source.final, "random": FRESH}[kind][n].abs() for n in SHAPES}


@pytest.mark.parametrize("cell", [c for c in CELLS if c.mask == "learned"], ids=lambda cell: cell.label)
def test_each_factor_comes_from_where_the_cell_says(cell, source):
    start = build_start(cell, source, FRESH, seed=5)
    magnitudes = magnitudes_of(cell.magnitudes, source)
    kind = cell.signs.partition(":")[0]
    signs = {"init": source.init, "final": source.final, "random": FRESH, "epoch": source.signs(3)}.get(kind)
    for name, mask in source.masks.items():
        known = mask & (magnitudes[name] != 0)
        torch.testing.assert_close(start.state[name].abs()[known], magnitudes[name][known])
        if signs is not None:
            known = mask & (signs[name] != 0)
            assert torch.equal(torch.sign(start.state[name])[known], torch.sign(signs[name])[known])
    assert torch.equal(start.state["two.bias"], (source.final if cell.rest == "learned" else FRESH)["two.bias"])


def test_a_sign_that_the_source_lacks_is_drawn_anew_and_counted(source):
    start = build_start(Cell(signs="epoch:3"), source, FRESH, seed=5)
    lacking = {name: (source.signs(3)[name] == 0) & mask for name, mask in source.masks.items()}
    assert start.redrawn_signs == sum(int(missing.sum()) for missing in lacking.values()) > 0
    for name, missing in lacking.items():
        assert torch.equal(torch.sign(start.state[name])[missing], torch.sign(FRESH[name])[missing])


def test_perturbed_signs_turn_with_their_probability(source):
    def turned(q):
        start = build_start(Cell(signs=f"perturbed:{q}"), source, FRESH, seed=5)
        return sum(int((start.state[n] * source.final[n] < 0).sum()) for n in SHAPES)

    known = sum(int((source.final[n] != 0).sum()) for n in SHAPES)
    assert (turned(0), turned(1)) == (0, known)
    assert abs(turned(0.3) / known - 0.3) < 4 * (0.21 / known) ** 0.5


def test_the_start_depends_on_the_seed_only_where_it_draws(source):
    def states(text):
        return [build_start(Cell.parse(text), source, FRESH, seed=s).state["one.weight"] for s in (1, 1, 2)]

    for text, drawn in (("signs=final", False), ("signs=perturbed:0.5", True), ("mask=shuffled", True)):
        first, again, other = states(text)
        assert torch.equal(first, again)
        assert torch.equal(first, other) is not drawn


def test_the_source_is_left_as_it_was(source):
    before = {name: value.clone() for name, value in source.final.items()}
    build_start(Cell(signs="final", magnitudes="learned", rest="learned"), source, FRESH, 0).state["two.bias"].zero_()
    assert all(torch.equal(before[name], source.final[name]) for name in before)


def test_signs_of_another_run_and_masks_of_a_score_must_be_given(source):
    with pytest.raises(InputError, match="final weights of runs/b"):
        build_start(Cell(signs="run:runs/b"), source, FRESH, 0)
    with pytest.raises(InputError, match="masks of score snip"):
        build_start(Cell(mask="snip"), source, FRESH, 0)
    other = network(7)
    start = build_start(Cell(signs="run:runs/b"), source, FRESH, 0, other=other)
    assert all(torch.equal(torch.sign(start.state[n]), torch.sign(other[n]) * m) for n, m in source.masks.items())
    ends = Source(source.init, source.final, source.masks)
    with pytest.raises(InputError, match="signs='epoch:3' is not init, final or random, as the source has no signs"):
        build_start(Cell(signs="epoch:3"), ends, FRESH, 0)
    with pytest.raises(InputError, match=r"fresh\[one\.weight\]"):
        build_start(Cell(), source, {"two.weight": FRESH["two.weight"]}, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("signs=finl", "did you mean final"),
        ("signs=epoch:-1", "epoch of signs"),
        ("signs=epoch:x", "epoch of signs"),
        ("signs=perturbed:1.5", "probability of signs"),
        ("signs=run:", "signs='run:'"),
        ("mask=snap", "did you mean snip"),
        ("mask=random:erq", "did you mean erk"),
        ("magnitude=init", "did you mean magnitudes"),
        ("magnitudes=final", "one of init, learned, random, constant"),
        ("rest=new", "one of init, learned"),
        ("learned", "is not a list such as"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        Cell.parse(text)
