"""Files of tensors: others read what we write, and no byte of one changes unnoticed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from commons import InputError
from sparse_training.tensor_files import DIGEST, digest_of, read_tensors, write_tensors

TENSORS = {
    "weight": torch.randn(3, 5, generator=torch.Generator().manual_seed(0)),
    "mask": torch.tensor([[True, False], [False, True]]),
    "half": torch.arange(5, dtype=torch.bfloat16),
    "scalar": torch.tensor(3, dtype=torch.int64),
    "empty": torch.empty(0, 4),
    "wide": torch.randn(2, 2, dtype=torch.float64),
    "turned": torch.randn(4, 3).T,
}


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "t.safetensors", TENSORS, {"info": "ä"})
    return tmp_path / "t.safetensors"


def test_what_is_written_is_read_by_us_and_by_the_format_s_own_library(path):
    tensors, metadata = read_tensors(path)
    assert metadata["info"] == "ä"
    for found in (tensors, load_file(path)):
        assert set(found) == set(TENSORS)
        assert all(found[k].dtype == v.dtype and torch.equal(found[k], v) for k, v in TENSORS.items())
    with safe_open(path, "pt") as file:
        assert file.metadata()[DIGEST] == metadata[DIGEST] == digest_of(tensors, {"info": "ä"})


def test_no_bit_of_a_file_changes_unnoticed(path):
    """Every byte, one random bit of it: refused, or read as the very same tensors (spaces of the header)."""
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    unnoticed, told = 0, []
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            tensors, metadata = read_tensors(path)
        except InputError as refusal:
            told.append(str(refusal))
            continue
        unnoticed += DIGEST in metadata
        assert set(tensors) == set(TENSORS)
        assert all(torch.equal(tensors[k], v) for k, v in TENSORS.items())
    assert unnoticed <= 8  # the padding
    assert all("t.safetensors" in line and "\n" not in line for line in told)


@settings(max_examples=50)
@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_tensors_are_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("x") / "t.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.safetensors"):
        read_tensors(path)


@pytest.mark.parametrize("size", [0, 7, 8, 60, -1])
def test_a_file_cut_short_is_refused(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="safetensors"):
        read_tensors(path)


def test_a_file_of_others_without_a_digest_is_read(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "o.safetensors")
    tensors, metadata = read_tensors(tmp_path / "o.safetensors")
    assert torch.equal(tensors["w"], torch.ones(2))
    assert DIGEST not in metadata


def test_a_dtype_that_the_format_lacks_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"w\.dtype"):
        write_tensors(tmp_path / "c.safetensors", {"w": torch.ones(2, dtype=torch.complex64)}, {})


def test_tensors_that_share_memory_are_written_each(tmp_path):
    tensor = torch.randn(6)
    write_tensors(tmp_path / "s.safetensors", {"a": tensor, "b": tensor, "c": tensor[:3]}, {})
    assert torch.equal(read_tensors(tmp_path / "s.safetensors")[0]["c"], tensor[:3])
