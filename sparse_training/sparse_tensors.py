"""Tensors of which few entries are active as what is stored of them: the values, and where they are.

Layout "sparse": the active values in row-major order, and either one bit an entry or the gaps between active entries
one byte each, whichever is smaller. Layout "2:4": two values and four bits for every four consecutive inputs. Both keep
every bit of the active values and the support itself, so that an active weight of value 0 stays active. What is not
active comes back as +0. README.md of export/ shows the layouts as files, and how to read them with NumPy alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from commons.checks import InputError, refuse
from sparse_training.tensor_files import DTYPES

LAYOUTS = ("dense", "sparse", "2:4")
ESCAPE = 255  # a gap byte that says: 255 inactive entries, and no active one after them
# Numbers move as words of bits, because torch may rewrite a nan of half precision when it copies one as a number.
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Pair = tuple[Tensor, Tensor]
Table = list[list[Any]]


def pack(state: Mapping[str, Tensor], masks: Mapping[str, Tensor], layout: str) -> tuple[dict[str, Tensor], Table]:
    """Few tensors that hold many, and the table that says how, which is JSON.

    state: tensors of any shape by name, on the CPU. masks: bool, in the shape of each tensor to be written sparse.
    layout: "sparse" or "2:4". What is stored of all tensors is joined in their order, as "dense.TYPE" and "values.TYPE"
    for each type, and as "places", which is uint8. The table has a row for each tensor: name, type and shape, and of a
    sparse one its numbers of bytes among the places and of entries among the values.

    Raises:
        InputError: as `encode` and `encode_2of4`, with the name of the tensor.
    """
    streams: dict[str, list[Tensor]] = {}
    table: Table = []
    for name, tensor in state.items():
        if tensor.dtype not in DTYPES:
            refuse(f"{name}.dtype", tensor.dtype, "one that a file can hold", ", ".join(DTYPES.values()))
        kind, own = DTYPES[tensor.dtype], tensor.detach()
        row: list[Any] = [name, kind, list(tensor.shape)]
        if name in masks:
            try:
                values, places = (encode_2of4 if layout == "2:4" else encode)(own, masks[name])
            except InputError as error:
                raise InputError(f"{name}: {error}") from None
            streams.setdefault(f"values.{kind}", []).append(_words(values))
            streams.setdefault("places", []).append(places)
            row += [len(places), len(values)]
        else:
            streams.setdefault(f"dense.{kind}", []).append(_words(own.reshape(-1)))
        table.append(row)
    types = {kind: dtype for dtype, kind in DTYPES.items()}
    joined = {key: torch.cat(parts) for key, parts in streams.items()}
    return {key: part.view(types.get(key.partition(".")[2], torch.uint8)) for key, part in joined.items()}, table


def unpack(
    tensors: Mapping[str, Tensor], table: Iterable[Sequence[Any]], layout: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state and the masks that `pack` was given, of the shapes that the table says.

    Raises:
        InputError: the tensors are not those that the table describes.
    """
    rest = dict(tensors)

    def take(key: str, length: int) -> Tensor:
        if not 0 <= length <= len(rest[key]):
            raise InputError(f"{key} ends before {name}")
        part, rest[key] = rest[key][:length], rest[key][length:]
        return part

    state, masks = {}, {}
    for name, kind, shape, *lengths in table:
        if lengths:
            places, values = take("places", lengths[0]), take(f"values.{kind}", lengths[1])
            decoded = decode_2of4 if layout == "2:4" else decode
            state[name], masks[name] = decoded(values, places, tuple(map(int, shape)))
        else:
            state[name] = take(f"dense.{kind}", _total(shape)).clone().view(shape)
    return state, masks


def encode(tensor: Tensor, active: Tensor) -> Pair:
    """Values and places in the layout "sparse".

    tensor: of any shape and dtype, on the CPU. active: bool, in its shape; entries off it must be 0. The values are
    1-d, of the tensor's dtype. The places, 1-d uint8, are bits or gaps, and gaps only if they are fewer bytes. Entry i
    of the flattened tensor is bit i mod 8 of byte i // 8 of the bits, counted from the lowest. A gap byte g < 255
    stands for g inactive entries and an active one after them, the byte 255 for 255 inactive entries; of those after
    the last active entry only whole 255s are written.

    Raises:
        InputError: an entry that is not active and not 0.
    """
    flat, mask = tensor.detach().reshape(-1), active.reshape(-1)
    outside = int((flat[~mask] != 0).sum())
    if outside:
        refuse("tensor", f"{outside} non-zero entries off the mask", "0 there")
    gaps = _gaps(mask)
    places = gaps if len(gaps) < -(-len(flat) // 8) else _bits(mask)
    return _words(flat)[mask].view(tensor.dtype), places


def decode(values: Tensor, places: Tensor, shape: tuple[int, ...]) -> Pair:
    """The tensor and the bool mask that `encode` was given, both of this shape, exactly.

    Raises:
        InputError: values and places are not those of a tensor of this shape.
    """
    total = _total(shape)
    mask = _mask(places, total)
    if mask is None or values.dim() != 1 or len(values) != int(mask.sum()):
        raise InputError(f"values and places do not describe a tensor of shape {shape}")
    words = torch.zeros(total, dtype=_WORDS[values.itemsize])
    words[mask] = _words(values)
    return words.view(values.dtype).view(shape), mask.view(shape)


def encode_2of4(tensor: Tensor, active: Tensor) -> Pair:
    """Values and places in the layout "2:4": at most 2 of every 4 consecutive inputs of a unit are active.

    tensor, active: as for `encode`. Inputs are axis 1 of a weight, as in the masks "2:4" of `make_masks`, and the only
    axis of a vector. With that axis last, as rows of inputs, the values begin with two of each group of 4 inputs, and
    the places with 4 bits of each: group i is the low half of byte i // 2 if i is even, else the high half. Of the 4
    bits the low two are the place of the first value, i, and the high two that of the second, j; i < j where two
    entries are active, i = j where one is (both values are its), and (i, j) = (1, 0) where none is. After them come
    values and places, as of `encode`, of the inputs that 4 leaves over at the end of each row, together.

    Raises:
        InputError: a group with more than 2 active entries, or an entry that is not active and not 0.
    """
    rows, mask = _rows(tensor.detach()), _rows(active)  # (rows, inputs)
    whole = rows.shape[1] // 4 * 4
    groups, held, counts = rows[:, :whole].reshape(-1, 4), mask[:, :whole].reshape(-1, 4), check_2of4(active)
    if bool((groups[~held] != 0).any()):
        refuse("tensor", "non-zero entries off the mask", "0 there")
    order = held.int().argsort(dim=1, descending=True, stable=True)[:, :2]  # places of the active ones first
    first, second = order[:, 0], torch.where(counts == 1, order[:, 0], order[:, 1])
    first, second = torch.where(counts == 0, 1, first), torch.where(counts == 0, 0, second)
    halves = (first + 4 * second).to(torch.uint8)
    halves = torch.cat((halves, halves.new_zeros(len(halves) % 2))).view(-1, 2)
    pairs = _words(groups).gather(1, torch.stack((first, second), 1)).view(-1)
    values, places = encode(rows[:, whole:], mask[:, whole:])
    return torch.cat((pairs, _words(values))).view(tensor.dtype), torch.cat((halves[:, 0] | halves[:, 1] << 4, places))


def check_2of4(mask: Tensor) -> Tensor:
    """How many of each 4 consecutive inputs a mask keeps, int64 (groups,), in the order of `encode_2of4`.

    mask: bool, of the shape of a weight.

    Raises:
        InputError: they are more than 2 anywhere; the line says where.
    """
    rows = _rows(mask)
    whole = rows.shape[1] // 4 * 4
    counts = rows[:, :whole].reshape(-1, 4).sum(1)
    full = (counts > 2).nonzero()
    if len(full):
        row, place = divmod(4 * int(full[0]), whole)
        found = f"{int(counts[full[0]])} active weights among inputs {place} to {place + 3} of unit {row}"
        refuse("mask", found, "2:4, at most 2 of every 4 consecutive inputs", "make it with --distribution 2:4")
    return counts


def decode_2of4(values: Tensor, places: Tensor, shape: tuple[int, ...]) -> Pair:
    """The tensor and the bool mask that `encode_2of4` was given, both of this shape, exactly.

    Raises:
        InputError: values and places are not those of a tensor of this shape.
    """
    inputs = shape[min(1, len(shape) - 1)]
    rows, whole = _total(shape) // inputs, inputs // 4 * 4
    number = rows * whole // 4
    codes, pairs = places[: -(-number // 2)], _words(values)[: 2 * number].view(-1, 2)
    if places.dtype != torch.uint8 or len(pairs) != number or len(codes) != -(-number // 2):
        raise InputError(f"values and places do not describe the groups of 4 of a tensor of shape {shape}")
    halves = torch.stack((codes & 15, codes >> 4), 1).reshape(-1)[:number].long()
    at = torch.stack((halves & 3, halves >> 2), 1)  # (groups, 2)
    held = (at[:, :1] <= at[:, 1:]).expand(-1, 2)
    words = pairs.new_zeros((number, 4)).scatter_(1, at, pairs).view(rows, whole)
    mask = torch.zeros((number, 4), dtype=torch.bool).scatter_(1, at, held).view(rows, whole)
    rest = decode(values[2 * number :], places[len(codes) :], (rows, inputs - whole))
    words, mask = torch.cat((words, _words(rest[0])), 1), torch.cat((mask, rest[1]), 1)
    return _unrowed(words, shape).view(values.dtype), _unrowed(mask, shape)


def _gaps(mask: Tensor) -> Tensor:
    ends = torch.cat((mask.new_full((1,), -1, dtype=torch.int64), mask.nonzero().flatten()))
    gaps = ends.diff() - 1
    escapes = gaps // ESCAPE
    tail = (len(mask) - 1 - int(ends[-1])) // ESCAPE
    coded = torch.full((int(escapes.sum()) + len(gaps) + tail,), ESCAPE, dtype=torch.uint8)
    coded[(escapes + 1).cumsum(0) - 1] = (gaps % ESCAPE).to(torch.uint8)
    return coded


def _words(tensor: Tensor) -> Tensor:
    return tensor.view(_WORDS[tensor.itemsize])


def _total(shape: tuple[int, ...]) -> int:
    if min(shape, default=0) < 0:
        refuse("shape", shape, "one without negative sizes")
    return prod(shape)


def _rows(tensor: Tensor) -> Tensor:
    """(units, inputs) of a weight, whose inputs are axis 1; a vector is one row."""
    return tensor.movedim(min(1, tensor.dim() - 1), -1).reshape(-1, tensor.shape[min(1, tensor.dim() - 1)])


def _unrowed(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) < 2:
        return rows.reshape(shape)
    return rows.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1).contiguous()


def _bits(mask: Tensor) -> Tensor:
    padded = torch.cat((mask, mask.new_zeros(-len(mask) % 8))).view(-1, 8)
    return (padded.to(torch.uint8) << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def _mask(places: Tensor, total: int) -> Tensor | None:
    """The mask of bits or gaps; None where they are not those of so many entries."""
    if places.dtype != torch.uint8 or places.dim() != 1:
        return None
    if len(places) == -(-total // 8):
        return (places[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).reshape(-1)[:total].bool()
    steps, ends = places.long(), places < ESCAPE
    reached = (steps + ends).cumsum(0)
    covered = int(reached[-1]) if len(reached) else 0
    if not 0 <= total - covered < ESCAPE:  # so that few bytes never claim a huge tensor
        return None
    mask = torch.zeros(total, dtype=torch.bool)
    mask[reached[ends] - 1] = True
    return mask
