"""Text: what is held out is not in training, crops and their labels are the text's, and tokens may be the user's."""

import math
import sys
import types
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commons import InputError
from sparse_training import data
from sparse_training.data.corpus import LONG_LINE, corpus_of, held_out, standard_library, without_known_lines
from sparse_training.data.text import Text, from_corpus


@pytest.fixture(scope="module")
def library() -> Text:
    return from_corpus("python-text", standard_library())


def text_of(tokens: torch.Tensor) -> bytes:
    return bytes(tokens.flatten().tolist())


def test_no_held_out_text_is_in_training(library: Text) -> None:
    files = library.corpus.files
    packages = [{name.partition("/")[0] for name in files[split]} for split in ("train", "test")]
    assert not packages[0] & packages[1]
    known = {line.strip() for line in text_of(library.corpus.train).splitlines()}
    lines = [line.strip() for line in text_of(library.corpus.test).splitlines()]
    assert not [line for line in lines if len(line) >= LONG_LINE and line in known]
    assert sum(len(line) >= LONG_LINE for line in lines) > 1000
    assert library.corpus.dropped > 0


def test_the_standard_library_is_held_out_by_a_tenth_and_without_its_tests(library: Text) -> None:
    sizes = library.record["bytes"]
    assert 0.08 < sizes["test"] / (sizes["train"] + sizes["test"]) < 0.1
    names = [part for split in library.corpus.files.values() for name in split for part in name.split("/")]
    assert not {"test", "tests", "idle_test", "encodings", "pydoc_data", "lib2to3", "site-packages"} & set(names)
    assert "subprocess.py" in names


def test_the_record_names_the_files_in_order_and_the_bytes(library: Text) -> None:
    again = from_corpus("python-text", standard_library())
    assert again.record == library.record
    for files in library.record["files"].values():
        assert files == sorted(files)
    changed = from_corpus("python-text", standard_library())
    changed.tokens["train"][1000] ^= 1
    assert changed.digest != library.digest


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([f"package{i}" for i in range(30)]), st.integers(0, 10**6), min_size=2))
def test_held_out_packages_are_some_and_not_all_and_do_not_depend_on_the_order(sizes: dict[str, int]) -> None:
    chosen = held_out(sizes)
    assert 0 < len(chosen) < len(sizes) or not sum(sizes.values())
    assert chosen == held_out(dict(reversed(sizes.items())))
    assert len(chosen) == 1 or sum(sizes[name] for name in chosen) <= 0.1 * sum(sizes.values())


def test_lines_are_known_without_their_indentation_and_short_ones_stay() -> None:
    long = b"x" * LONG_LINE
    test, dropped = without_known_lines(b"    " + long + b"\nshort\ny" + long + b"\n", lambda: [b"short", long + b"  "])
    assert (test, dropped) == (b"short\ny" + long + b"\n", 1)


def test_labels_are_the_tokens_that_follow(library: Text) -> None:
    whole = text_of(library.tokens["train"])
    for x, y in (next(library.train(1, 8, seed=0)), library.samples("train", 5)):
        assert torch.equal(x[:, 1:], y[:, :-1])
        for row, labels in zip(x, y, strict=True):
            assert text_of(row) + text_of(labels[-1]) in whole


def test_the_whole_test_is_every_label_once_and_a_part_of_it_is_where_it_says(library: Text) -> None:
    tokens = library.tokens["test"]
    labels = torch.cat([y for _, y in library.test(512)]).flatten()
    assert torch.equal(labels, tokens[1 : 1 + len(labels)].long())
    assert 0 <= len(tokens) - 1 - len(labels) < library.context
    part = from_corpus("python-text", library.corpus, test_crops=37)
    y = torch.cat([y for _, y in part.test(10)])
    assert torch.equal(y, tokens[part.test_places()].long())
    assert part.test_places().flatten().unique().numel() == 37 * 128


def test_crops_begin_anywhere_and_one_in_each_part_of_the_text(library: Text) -> None:
    short = from_corpus("python-text", library.corpus, crops=50)
    part = (len(short.tokens["train"]) - short.context) / 50
    seen = set()
    for epoch in range(3):
        starts = short._starts(torch.arange(50), short._places(epoch, seed=4))
        assert torch.equal((starts / part).floor().long(), torch.arange(50))
        seen |= set(starts.tolist())
    assert len(seen) == 150


def test_bits_per_byte_count_the_bytes_of_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_text("".join(f"{'word ' * 9}{index}\n" for index in range(400)))
    pairs = types.ModuleType("own_tokenizer")

    def encode(text: bytes) -> list[int]:
        padded = text + b" " * (len(text) % 2)
        return [256 * a + b for a, b in zip(padded[::2], padded[1::2], strict=True)]

    encode.vocabulary = 65536  # type: ignore[attr-defined]
    pairs.encode = encode  # type: ignore[attr-defined]
    answers = {"below": [-1], "large": [2**31], "half": [0.5], "square": [[1], [2]], "ragged": [[1], [2, 3]]}
    for name, answer in answers.items():
        setattr(pairs, name, lambda text, answer=answer: answer)
    pairs.raises = lambda text: {}[text[:3]]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_tokenizer", pairs)
    found = data.load("text", tmp_path / "text", context=8, tokenizer="own_tokenizer:encode")
    assert found.inputs == {"num_classes": 65536}
    assert found.metrics(math.log(65536))["bits_per_byte"] == pytest.approx(8, rel=1e-3)
    assert data.load("text", tmp_path / "text").metrics(math.log(256)) == {"bits_per_byte": pytest.approx(8)}
    for name in (*answers, "raises"):
        with pytest.raises(InputError, match=f"tokenizer='own_tokenizer:{name}' is not a callable from bytes") as told:
            data.load("text", tmp_path / "text", tokenizer=f"own_tokenizer:{name}")
        assert "\n" not in str(told.value)
    assert "it raised KeyError: b'wor'" in str(told.value)


def test_a_file_is_cut_at_a_line_and_mapped(tmp_path: Path) -> None:
    lines = [f"{index:05} {'x' * 50}\n" for index in range(1000)]
    (tmp_path / "text").write_text("".join([*lines, lines[0], "the end\n"]))
    corpus = corpus_of(tmp_path / "text")
    assert text_of(corpus.train).decode().splitlines(keepends=True) == lines[:-98]
    assert text_of(corpus.test).decode() == "".join(lines[-98:]) + "the end\n"
    assert corpus.dropped == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "root=.* is not a text file, or a folder with files in at least two places"),
        ({"a/one": "x\n" * 500, "a/two": "y\n"}, "at least two places"),
        ({"one": "x" * 500}, "no last tenth of lines"),
        ({"one": "x\n" * 500, "two": "y\n"}, "context=128 is not below the length of the test text, 2 tokens"),
    ],
)
def test_too_little_text_is_refused_in_one_line(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        data.load("text", tmp_path)


def test_what_is_for_text_is_refused_elsewhere() -> None:
    with pytest.raises(InputError, match="crops=7 is not left out, as data='digits' takes none"):
        data.load("digits", crops=7)
    with pytest.raises(InputError, match=r"test_crops=10000000 is not .*; the [\d,]+ held-out tokens have room for "):
        data.load("python-text", test_crops=10**7)
