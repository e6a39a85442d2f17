"""What determines a run and what it leaves: its configuration, its folder, and the reader of that folder."""

from sparse_training.runs.checkpoint import Network, load_network, save_network
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run

__all__ = ["Config", "Network", "Run", "load_network", "save_network"]
