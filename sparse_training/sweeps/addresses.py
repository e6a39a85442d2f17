"""The address of a run: a hash of everything that its numbers depend on, the same on every machine."""

import hashlib
import json
from functools import cache
from pathlib import Path

import torch

from commons.checks import InputError
from sparse_training.data.resident import Resident
from sparse_training.data.text import Text
from sparse_training.runs.config import VARIANTS, Config, DataSettings
from sparse_training.runs.toml import Tree

RESULTS_VERSION = 1
"""Raised whenever the same configuration gives other numbers than before, a changed default included: then all runs
have new addresses, and ledgers keep the old ones as history."""

# Settings that say where and by what a run is computed and what it leaves, but not what is computed.
UNHASHED = {
    "source": None,
    "tensorboard": None,
    "checkpoint": None,
    "data": ("root", "workers"),
    "engine": ("device", "threads", "graphs"),
}
FILES = (("start",), ("mask", "file"))  # settings that name a file, whose content counts and whose place does not
ADDRESS_LENGTH = 20
SAMPLES = 256  # images of a split that stand for a data set that is too large to be held


def address(config: Config, digest: str, origin: str = "") -> str:
    """Twenty hexadecimal digits from the settings that differ from their defaults, the data and `RESULTS_VERSION`.

    A setting that is added later, with a default that changes nothing, so changes no address.

    digest: of the data, from `data_digest`. origin: for a run that starts from another one, what the start is.

    Raises:
        InputError: the configuration names a file that cannot be read.
    """
    settings = changed(config)
    for key, fields in UNHASHED.items():
        if fields is None:
            settings.pop(key, None)
        elif key in settings:
            settings[key] = {name: value for name, value in settings[key].items() if name not in fields}
            if not settings[key]:
                del settings[key]
    for path in FILES:
        section = settings if len(path) == 1 else settings.get(path[0], {})
        if section.get(path[-1]):
            section[path[-1]] = _file_digest(".".join(path), section[path[-1]])
    content = {"settings": settings, "data": digest, "results": RESULTS_VERSION, "origin": origin}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:ADDRESS_LENGTH]


def changed(config: Config) -> Tree:
    """The settings that differ from their defaults, as nested dictionaries that `Config.from_tree` takes.

    A section that comes in variants is compared with the defaults of its variant and starts with its `name`.
    """
    tree, usual = config.tree(), Config().tree()
    found: Tree = {}
    for key, value in tree.items():
        if not isinstance(value, dict):
            if value != usual[key]:
                found[key] = value
            continue
        defaults = usual[key]
        if key in VARIANTS and value["name"] != defaults["name"]:
            defaults = {**Config().with_tree({key: {"name": value["name"]}}).tree()[key], "name": None}
        different = {name: content for name, content in value.items() if content != defaults.get(name)}
        if different:
            found[key] = {"name": value["name"], **different} if key in VARIANTS else different
    return found


@cache
def data_digest(settings: DataSettings) -> str:
    """Sixteen hexadecimal digits from the images, labels and class names of a data set.

    Of text all tokens count, and of a set of images that is held in memory all images; of one that is read from its
    files 256 of each split, with the numbers of images.

    Raises:
        InputError: the data set cannot be loaded.
    """
    data = settings.load(augment=False)
    if isinstance(data, Text):
        return data.digest[:16]
    digest = hashlib.sha256(json.dumps([data.classes, data.shape, data.n_train, data.n_test]).encode())
    for split in ("train", "test"):
        if isinstance(data, Resident):
            tensors = (data.images[split].pixels, data.images[split].labels)
        else:
            count = data.n_train if split == "train" else data.n_test
            tensors = data.samples(split, min(SAMPLES, count))
        for tensor in tensors:
            digest.update(_bytes(tensor))
    return digest.hexdigest()[:16]


def _bytes(tensor: torch.Tensor) -> memoryview:
    data: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return data


def _file_digest(argument: str, path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{argument}={path!r} cannot be read: {error.strerror}") from None
