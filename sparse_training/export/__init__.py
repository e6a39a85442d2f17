"""Trained networks as files for other programs: state dicts, really sparse ones among them, and ONNX."""

from sparse_training.export.cuda import semi_structured
from sparse_training.export.formats import FORMATS, Format, dense_bytes, export, format_of, with_support

__all__ = ["FORMATS", "Format", "dense_bytes", "export", "format_of", "semi_structured", "with_support"]
