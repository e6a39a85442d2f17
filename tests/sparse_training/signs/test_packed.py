"""The packed file: two bits a weight, resumed where a run resumes, refused when it is not what it should be."""

import pytest
import torch

from commons import InputError
from sparse_training.signs import SignHistory, SignWriter, pack_signs
from sparse_training.signs.packed import pack_bits

LAYERS = {"one": (5, 7), "two": (11,)}


def planes(seed):
    rng = torch.Generator().manual_seed(seed)
    return pack_signs({name: torch.randn(shape, generator=rng) for name, shape in LAYERS.items()})


@pytest.mark.parametrize("length", [1, 7, 8, 9, 64, 1003])
def test_bits_are_packed_in_order(length):
    bits = torch.rand(length, generator=torch.Generator().manual_seed(length)) < 0.5
    packed = pack_bits(torch.stack((bits, ~bits)))
    assert packed.shape == (2, -(-length // 8))
    for row, expected in zip(packed.tolist(), (bits, ~bits), strict=True):
        assert all(bool(row[i // 8] >> (i % 8) & 1) == bool(expected[i]) for i in range(length))


def test_a_weight_costs_two_bits(tmp_path):
    writer = SignWriter(tmp_path / "signs.bin", {"weight": (80_000,)})
    empty = writer.path.stat().st_size
    for epoch in range(3):
        writer.write(epoch, pack_signs({"weight": torch.randn(80_000)}))
    assert (writer.path.stat().st_size - empty) / 3 == 20_000 + 12


def test_negative_zero_is_zero():
    assert pack_signs({"w": torch.tensor([-0.0])}) == pack_signs({"w": torch.tensor([0.0])})


def test_an_earlier_epoch_written_again_drops_the_later_ones(tmp_path):
    straight, resumed = (SignWriter(tmp_path / name, LAYERS) for name in ("straight", "resumed"))
    for epoch in range(5):
        straight.write(epoch, planes(epoch))
    for epoch in (0, 1, 2, 3):
        resumed.write(epoch, planes(epoch))
    again = SignWriter(tmp_path / "resumed", LAYERS)
    for epoch in (2, 3, 4):
        again.write(epoch, planes(epoch))
    assert straight.path.read_bytes() == resumed.path.read_bytes()


def test_a_frame_cut_short_is_left_out_and_written_again(tmp_path):
    writer = SignWriter(tmp_path / "signs.bin", LAYERS)
    for epoch in range(3):
        writer.write(epoch, planes(epoch))
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole[:-3])
    assert SignHistory(writer.path).epochs == [0, 1]
    SignWriter(writer.path, LAYERS).write(2, planes(2))
    assert writer.path.read_bytes() == whole


def test_damage_is_named(tmp_path):
    writer = SignWriter(tmp_path / "signs.bin", LAYERS)
    writer.write(0, planes(0))
    damaged = bytearray(writer.path.read_bytes())
    damaged[-1] ^= 1
    writer.path.write_bytes(damaged)
    with pytest.raises(InputError, match="epoch 0 are damaged"):
        SignHistory(writer.path).frame(0)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 something else entirely", b"signs\x00v1"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "signs.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match="history of signs"):
        SignHistory(path)


def test_another_network_is_refused(tmp_path):
    SignWriter(tmp_path / "signs.bin", LAYERS)
    with pytest.raises(InputError, match="another network"):
        SignWriter(tmp_path / "signs.bin", {"one": (5, 7), "two": (12,)})


def test_an_epoch_that_was_not_recorded_names_those_that_were(tmp_path):
    writer = SignWriter(tmp_path / "signs.bin", LAYERS)
    for epoch in (0, 1, 2):
        writer.write(epoch, planes(epoch))
    with pytest.raises(InputError, match=r"epoch=7 is not recorded.*0 to 2 \(3 of them\)"):
        SignHistory(writer.path).signs(7)
