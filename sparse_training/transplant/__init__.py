"""Sign transplants: sparse runs from a chosen product of mask, signs and magnitudes, compared with their source."""

from sparse_training.transplant.cell import Cell, paper_cells
from sparse_training.transplant.start import Source, Start, build_start

__all__ = ["Cell", "Source", "Start", "build_start", "paper_cells"]
