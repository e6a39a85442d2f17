"""A short name for everything that determines a run, so that two different runs never meet in one folder."""

import hashlib
import json
import re

from sparse_training.runs.checkpoint import Network
from sparse_training.runs.config import Config
from sparse_training.runs.folder import PLACES
from sparse_training.tensor_files import digest_of

LENGTH = 12  # hexadecimal digits in a folder's name: among a million runs two meet with probability 2e-3


def address(config: Config, *more: str) -> str:
    """SHA-256 in hexadecimal of a configuration and of further texts that determine the run.

    Where the data lie and how many threads read them do not count, as they do not when a run goes on elsewhere.
    """
    tree = config.tree()
    if config.scaling is None:
        del tree["scaling"]  # so that runs from before there were scalings are found again
    for section, key in PLACES:
        tree[section] = {name: value for name, value in tree[section].items() if name != key}
    return hashlib.sha256(json.dumps([tree, *more], sort_keys=True).encode()).hexdigest()


def network_digest(network: Network) -> str:
    """SHA-256 in hexadecimal of the names, shapes, types and bytes of all tensors and masks of a network."""
    tensors = {f"state.{name}": value for name, value in network.state.items()}
    return digest_of(tensors | {f"mask.{name}": mask for name, mask in (network.masks or {}).items()}, {})


def folder_name(label: str, full_address: str) -> str:
    """A folder's name that people can read and that no other run has: the label's words, then part of the address."""
    return f"{slug(label)}-{full_address[:LENGTH]}"


def slug(label: str) -> str:
    """At most 60 characters that any file system takes; different labels may give the same."""
    return re.sub(r"[^\w.=-]+", "_", label)[:60].strip("_.-") or "run"
