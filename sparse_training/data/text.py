"""Text as a data set: random crops of tokens to train on, the held-out text end to end to test on.

A crop of T tokens is the input, and the tokens that follow each of them are its T labels.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commons.checks import number, refuse
from commons.registry import Registry
from sparse_training.data.base import Batch, Data, chunks, epoch_order
from sparse_training.data.corpus import Corpus, corpus_of, standard_library
from sparse_training.seeding import generator

CONTEXT = 128
BLOCK = 2**20  # bytes of whole lines that a tokenizer is given at once
LARGEST_TOKEN = 2**31
LARGEST_ON_DEVICE = 2**31  # bytes of tokens; a longer text stays where it is, and its crops are copied

TOKENIZERS: Registry[Callable[[bytes], Any]] = Registry(
    "a callable from bytes to the numbers of their tokens", accept=lambda part: part if callable(part) else None
)


@dataclass(frozen=True, eq=False)
class Text(Data):
    """Text in two splits of tokens. Batches are (x, y), both (B, T) int64: y[:, t] is the token after x[:, t].

    shape: (T,). tokens: of each split, (n,) uint8 for bytes or int32. corpus: the bytes they come from. device: where
    batches are made. augment: whether crops begin anywhere. An epoch has n_train crops: crop i begins at a random place
    of the i-th of n_train equal parts of the training text, or at its beginning without `augment`. The test has n_test
    crops that do not overlap; all of them are the held-out text end to end.
    """

    tokens: dict[str, Tensor] = field(repr=False)
    corpus: Corpus = field(repr=False)
    device: torch.device
    augment: bool

    @property
    def context(self) -> int:
        """Tokens of a crop, T."""
        return self.shape[0]

    @property
    def inputs(self) -> dict[str, int]:
        return {"num_classes": self.num_classes}

    @property
    def targets(self) -> int:
        return self.context

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the tokens of both splits."""
        found = hashlib.sha256()
        for split in ("train", "test"):
            found.update(f"{split} {len(self.tokens[split])} ".encode())
            for part in torch.split(self.tokens[split], 2**24):
                found.update(part.cpu().numpy().tobytes())
        return found.hexdigest()

    @property
    def record(self) -> dict[str, Any]:
        """The files of each split in their order, the sizes, and the digest of all tokens."""
        return {
            "name": self.name,
            "digest": self.digest,
            "bytes": {"train": len(self.corpus.train), "test": len(self.corpus.test)},
            "tokens": {split: len(tokens) for split, tokens in self.tokens.items()},
            "dropped_test_lines": self.corpus.dropped,
            "files": {split: list(names) for split, names in self.corpus.files.items()},
        }

    def metrics(self, loss: float) -> dict[str, float]:
        """Bits per byte of the held-out text; a crop's first tokens are predicted from few others."""
        return {"bits_per_byte": loss / math.log(2) * len(self.tokens["test"]) / len(self.corpus.test)}

    def train(self, epoch: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        order = epoch_order(self.n_train, epoch, seed, rank, world)
        starts = self._starts(torch.arange(self.n_train), self._places(epoch, seed))[order]
        for part in chunks(starts.to(self.tokens["train"].device), batch_size):
            yield self._crops("train", part)

    def test_places(self) -> Tensor:
        """(n_test, T) int64: where in the held-out tokens the labels of each test crop stand."""
        return self._test_starts(torch.arange(self.n_test))[:, None] + 1 + torch.arange(self.context)

    def _take(self, split: str, index: Tensor) -> Batch:
        starts = self._test_starts(index) if split == "test" else self._starts(index, torch.zeros(len(index)))
        return self._crops(split, starts.to(self.tokens[split].device))

    def _crops(self, split: str, starts: Tensor) -> Batch:
        """The crops that begin at starts (B,), on the device of the tokens."""
        tokens = self.tokens[split]
        window = tokens[starts[:, None] + torch.arange(self.context + 1, device=starts.device)]  # (B, T + 1)
        window = window.to(self.device).long()
        return window[:, :-1].contiguous(), window[:, 1:].contiguous()

    def _places(self, epoch: int, seed: int) -> Tensor:
        """(n_train,) float64 in [0, 1): where in its part of the text each crop of an epoch begins."""
        if not self.augment:
            return torch.zeros(self.n_train, dtype=torch.float64)
        return torch.rand(self.n_train, generator=generator(seed, "augmentation", epoch), dtype=torch.float64)

    def _starts(self, index: Tensor, places: Tensor) -> Tensor:
        """Where the crops of the training text begin, (n,) int64."""
        room = len(self.tokens["train"]) - self.context
        return ((index + places.double()) * (room / self.n_train)).long().clamp_(max=room - 1)

    def _test_starts(self, index: Tensor) -> Tensor:
        """Where test crops begin: of all that fit end to end, n_test evenly spread ones."""
        return index * _fitting(self.tokens["test"], self.context) // self.n_test * self.context


def python_text(
    device: torch.device | str, augment: bool, context: int | None, crops: int | None, test_crops: int | None
) -> Text:
    """The sources of the running interpreter's standard library, as bytes."""
    return from_corpus("python-text", standard_library(), device, augment, context, crops, test_crops)


def text(
    root: Path,
    device: torch.device | str,
    augment: bool,
    context: int | None,
    crops: int | None,
    test_crops: int | None,
    tokenizer: str | None,
) -> Text:
    """A text file or folder of the user's, as bytes or as the tokens of "package.module:callable"."""
    return from_corpus("text", corpus_of(root), device, augment, context, crops, test_crops, tokenizer)


def from_corpus(
    name: str,
    corpus: Corpus,
    device: torch.device | str = "cpu",
    augment: bool = True,
    context: int | None = None,
    crops: int | None = None,
    test_crops: int | None = None,
    tokenizer: str | None = None,
) -> Text:
    """A data set of a corpus.

    context: tokens of a crop, 128 for None. crops: of an epoch; None for as many as cover the text once. test_crops:
    None for all that fit. tokenizer: in `TOKENIZERS` or "package.module:callable"; it maps bytes to numbers of tokens,
    and its attribute `vocabulary`, if it has one, says how many different tokens there are. Without one a token is a
    byte.

    Raises:
        InputError: a text too short for one crop, more test crops than fit, or numbers that are no tokens.
    """
    length = int(number("context", CONTEXT if context is None else context, at_least=1, integer=True))
    tokens, vocabulary = {"train": corpus.train, "test": corpus.test}, 256
    if tokenizer:
        tokens, vocabulary = _tokenized(tokens, tokenizer)
    for split, found in tokens.items():
        if len(found) <= length:
            refuse("context", length, f"below the length of the {split} text, {len(found):,} tokens")
    fitting = _fitting(tokens["test"], length)
    place = torch.device(device)
    if place.type != "cpu" and sum(part.nbytes for part in tokens.values()) < LARGEST_ON_DEVICE:
        tokens = {split: part.to(place) for split, part in tokens.items()}
    once = (len(tokens["train"]) - 1) // length
    held = f"the {len(tokens['test']):,} held-out tokens have room for {fitting:,} crops of {length}"
    return Text(
        name=name,
        classes=tuple(map(str, range(vocabulary))),
        shape=(length,),
        n_train=int(number("crops", once if crops is None else crops, at_least=1, integer=True)),
        n_test=int(
            number(
                "test_crops",
                fitting if test_crops is None else test_crops,
                at_least=1,
                at_most=fitting,
                integer=True,
                hint=held,
            )
        ),
        tokens=tokens,
        corpus=corpus,
        device=place,
        augment=augment,
    )


def _fitting(tokens: Tensor, context: int) -> int:
    """How many crops with all their labels lie end to end in a text."""
    return (len(tokens) - 1) // context


def _tokenized(parts: dict[str, Tensor], name: str) -> tuple[dict[str, Tensor], int]:
    """Tokens (n,) int32 of each split, and the size of the vocabulary."""
    tokenizer = TOKENIZERS.find("tokenizer", name)
    tokens = {
        split: torch.from_numpy(np.concatenate([_numbers(tokenizer, name, block) for block in _blocks(part)]))
        for split, part in parts.items()
    }
    largest = max(int(part.max()) for part in tokens.values() if len(part))
    vocabulary = int(getattr(tokenizer, "vocabulary", largest + 1))
    if largest >= vocabulary:
        refuse("tokenizer.vocabulary", vocabulary, f"above its largest token, {largest}")
    return tokens, vocabulary


def _numbers(tokenizer: Callable[[bytes], Any], name: str, block: bytes) -> NDArray[np.int32]:
    """The tokens of a block, none for an empty answer."""
    told = "a callable from bytes to whole numbers from 0 on"
    try:
        found = np.asarray(tokenizer(block))
    except Exception as error:
        refuse("tokenizer", name, told, " ".join(f"it raised {type(error).__name__}: {error}".split()))
    if found.shape == (0,):
        return np.empty(0, np.int32)
    whole = found.ndim == 1 and np.issubdtype(found.dtype, np.integer)
    if not whole or int(found.min()) < 0 or int(found.max()) >= LARGEST_TOKEN:
        refuse("tokenizer", name, told, f"it returned {' '.join(repr(found).split()):.60}")
    return found.astype(np.int32)


def _blocks(part: Tensor) -> Iterator[bytes]:
    """The bytes in pieces of whole lines, each as long as BLOCK or one line longer."""
    begin = 0
    while begin < len(part):
        end = min(begin + BLOCK, len(part))
        while end < len(part) and int(part[end - 1]) != ord("\n"):
            end += 1
        yield part[begin:end].numpy().tobytes()
        begin = end
