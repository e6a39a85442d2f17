"""Sparse layouts: every bit of the active values and of the mask comes back, and a file of another's is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sparse_training.export
from commons import InputError
from sparse_training.masks import Masks, from_scores, make_masks
from sparse_training.reparam import SignIn, sparsify
from sparse_training.runs import load_network, save_network
from sparse_training.sparse_tensors import decode, decode_2of4, encode, encode_2of4
from sparse_training.tensor_files import read_metadata, write_tensors

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    words = WORDS[a.element_size()]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(words), b.view(words))


def drawn(shape: tuple[int, ...], density: float, dtype: torch.dtype, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A tensor of any bits where it is active, −0, nan and inf among them, and +0 elsewhere."""
    rng = torch.Generator().manual_seed(seed)
    mask = torch.rand(shape, generator=rng) < density
    tensor = torch.randn(shape, generator=rng).to(dtype)
    for value in (0.0, -0.0, torch.nan, torch.inf):
        tensor[torch.rand(shape, generator=rng) < 0.1] = value
    return torch.where(mask, tensor, torch.zeros((), dtype=dtype)), mask


@given(
    shape=shapes, density=st.sampled_from([0, 0.02, 0.1, 0.5, 1]), dtype=st.sampled_from(DTYPES), seed=st.integers(0)
)
@settings(max_examples=60)
def test_the_sparse_layout_keeps_every_bit(shape, density, dtype, seed):
    tensor, mask = drawn(shape, density, dtype, seed % 2**31)
    back, support = decode(*encode(tensor, mask), shape)
    assert same_bits(back, tensor)
    assert torch.equal(support, mask)


@pytest.mark.parametrize("place", [0, 100, 253, 254, 255, 256, 508, 509, 510, 1999])
def test_long_gaps_are_kept(place):
    for length in {1, 254, 255, 256, 509, 510, 511, 2000, 99_000}:
        mask = torch.zeros(length, dtype=torch.bool)
        mask[place % length] = True
        values, places = encode(mask.float(), mask)
        assert len(places) == min(-(-length // 8), place % length // 255 + 1 + (length - 1 - place % length) // 255)
        assert torch.equal(decode(values, places, (length,))[1], mask)


@pytest.mark.parametrize(("density", "bytes_each"), [(0.05, 0.05), (0.12, 0.12), (0.13, 1 / 8), (0.5, 1 / 8)])
def test_the_smaller_coding_is_taken(density, bytes_each):
    mask = torch.zeros(10_000, dtype=torch.bool)
    mask[torch.randperm(10_000, generator=torch.Generator().manual_seed(0))[: round(1e4 * density)]] = True
    values, places = encode(mask.float(), mask)
    assert len(values) == round(1e4 * density)
    assert len(places) == pytest.approx(1e4 * bytes_each, rel=1e-3)


def two_of_four(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return from_scores({"w": scores}, 0.5, "2:4")["w"]


@given(shape=shapes, fewer=st.booleans(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**31))
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore::sparse_training.masks.EmptyLayer")
def test_the_layout_of_2_in_4_keeps_every_bit(shape, fewer, dtype, seed):
    tensor, some = drawn(shape, 0.6 if fewer else 1, dtype, seed)
    mask = two_of_four(shape, seed) & some
    tensor = torch.where(mask, tensor, torch.zeros((), dtype=dtype))
    back, support = decode_2of4(*encode_2of4(tensor, mask), shape)
    assert same_bits(back, tensor)
    assert torch.equal(support, mask)


def test_two_of_four_is_half_and_one_bit():
    mask = two_of_four((64, 64, 3, 3), 0)
    assert sum(part.nbytes for part in encode_2of4(mask.float(), mask)) == mask.numel() * (4 / 2 + 1 / 8)


def network(layout: str) -> tuple[dict[str, torch.Tensor], Masks]:
    """A small state dict with a buffer, and masks of it that fit the layout."""
    rng = torch.Generator().manual_seed(0)
    state = {"conv.weight": torch.randn(16, 9, 3, 3, generator=rng), "conv.bias": torch.randn(16, generator=rng)}
    state |= {"bn.num_batches_tracked": torch.tensor(3), "fc.weight": torch.randn(40, 32, generator=rng)}
    scores = {name: state[name].abs() for name in ("conv.weight", "fc.weight")}
    masks = from_scores(scores, *((0.5, "2:4") if layout == "2:4" else (0.1, "global")))
    for name, mask in masks.items():
        state[name] *= mask
        state[name][~mask] = 0.0
        state[name].view(-1)[mask.view(-1).nonzero()[0]] = 0.0  # active, and 0
    return state, masks


@pytest.mark.parametrize("layout", ["dense", "sparse", "2:4"])
def test_a_network_comes_back_whole(layout, tmp_path):
    state, masks = network(layout)
    save_network(tmp_path / "n.safetensors", state, masks, layout=layout, epoch=7)
    found = load_network(tmp_path / "n.safetensors")
    assert list(found.state) == list(state)
    assert all(torch.equal(found.state[name], value) for name, value in state.items())
    assert found.masks == masks
    assert found.info == {"epoch": 7}


def test_a_module_is_saved_merged_and_refused_with_factors(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 4))
    sparse = sparsify(model, make_masks(model, 0.5, "random"), SignIn())
    with pytest.raises(InputError, match=r"network='Sequential' is not merged, .*; give sparse.merge"):
        save_network(tmp_path / "n.safetensors", model, sparse.masks)
    save_network(tmp_path / "n.safetensors", sparse.merge(), sparse.masks)
    found = load_network(tmp_path / "n.safetensors")
    assert found.masks == sparse.masks
    assert all(torch.equal(found.state[name], value) for name, value in sparse.state_dict().items())


def page() -> str:
    return (Path(sparse_training.export.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_numpy_alone_reads_the_file_by_the_lines_of_the_page(tmp_path):
    code = next(block for block in re.findall(r"```python\n(.*?)```", page(), re.S) if "import numpy" in block)
    body = code[code.index("def read") :].strip().splitlines()
    assert len(body) <= 30
    names: dict[str, object] = {}
    exec(code, names)
    state, masks = network("sparse")
    masks = Masks({"conv.weight": masks["conv.weight"], "fc.weight": torch.ones_like(masks["fc.weight"])})  # bits too
    save_network(tmp_path / "n.safetensors", state, masks, layout="sparse")
    sizes = {
        row[0]: row[3] for row in json.loads(read_metadata(tmp_path / "n.safetensors")["info"])["tensors"] if row[3:]
    }
    assert sizes["conv.weight"] < masks["conv.weight"].numel() / 8  # gaps
    assert sizes["fc.weight"] == masks["fc.weight"].numel() / 8
    found = names["read"](tmp_path / "n.safetensors")
    assert list(found) == list(state)
    assert all(np.array_equal(found[name], value.numpy()) for name, value in state.items())


def test_what_does_not_fit_is_refused_with_its_place(tmp_path):
    state, masks = network("sparse")
    off = masks["fc.weight"].logical_not().nonzero()[0]
    outside = state | {"fc.weight": state["fc.weight"].index_put((*off,), torch.tensor(1.0))}
    with pytest.raises(InputError, match=r"^fc.weight: tensor='1 non-zero entries off the mask'"):
        save_network(tmp_path / "n", outside, masks, layout="sparse")
    mask = torch.zeros(2, 10, dtype=torch.bool)
    mask[1, 4:7] = True
    with pytest.raises(InputError, match="'3 active weights among inputs 4 to 7 of unit 1' is not 2:4"):
        encode_2of4(mask.float(), mask)
    with pytest.raises(InputError, match="layout='coo' is not one of dense, sparse, 2:4"):
        save_network(tmp_path / "n", state, masks, layout="coo")


@pytest.mark.parametrize("layout", ["sparse", "2:4"])
def test_what_is_stored_of_another_tensor_is_refused(layout):
    tensor, mask = torch.ones(8, 10), two_of_four((8, 10), 0)
    code, back = {"sparse": (encode, decode), "2:4": (encode_2of4, decode_2of4)}[layout]
    values, places = code(tensor * mask, mask)
    for shape in ((8, 11), (8, 9), (7, 10), (10**9, 10), (-8, -10)):
        with pytest.raises(InputError):
            back(values, places, shape)
    for wrong in (values[:-1], torch.cat((values, values))):
        with pytest.raises(InputError):
            back(wrong, places, (8, 10))
    for wrong in (places[:-1], torch.cat((places, places)), places.int()):
        with pytest.raises(InputError):
            back(values, wrong, (8, 10))


@pytest.mark.parametrize(
    "change",
    [
        {"tensors": [["w", "F32", [10**7, 10**7], 1, 1]]},
        {"tensors": [["w", "F32", [3], 1, 5]]},
        {"tensors": [["w", "F32", [3], "1", 1]]},
        {"tensors": [["w", "F16", [3], 1, 1]]},
        {"tensors": [["w"]]},
        {"tensors": 3},
        {"order": [["w"], ["v"]]},
    ],
)
def test_a_header_that_says_otherwise_is_refused_in_one_line(change, tmp_path):
    info = {"kind": "network", "layout": "sparse", "tensors": [["w", "F32", [3], 1, 1]]}
    tensors = {"values.F32": torch.ones(1), "places": torch.ones(1, dtype=torch.uint8)}
    write_tensors(tmp_path / "n.safetensors", tensors, {"info": json.dumps(info)})
    assert load_network(tmp_path / "n.safetensors").state["w"].tolist() == [1, 0, 0]
    write_tensors(tmp_path / "n.safetensors", tensors, {"info": json.dumps(info | change)})
    with pytest.raises(InputError, match="cannot be read: it holds no whole network"):
        load_network(tmp_path / "n.safetensors")
