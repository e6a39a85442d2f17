"""A network as an ONNX file, with its sparse weights dense or compressed, and what such a file computes.

Compressed, a weight is its non-zero values and one byte each, the step from the value before, and standard operators
put them in place: any runtime opens the file, and one that folds constants does so once, when it opens it.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from commons.checks import InputError, refuse
from commons.files import write_whole

OVERHEAD = 500  # bytes of the operators that put one weight in place, roughly
AXIS = "sparse.axis"
OPSET = 20


def write(network: object, path: Path, model: nn.Module | None, x: Tensor | None, *, compressed: bool) -> None:
    """Write the graph of the model, traced on the batch x (B, ...), whose size B stays free.

    compressed: whether weights are compressed that become smaller by it; else the file is as torch exports it. network:
    not used, as the model holds its weights.
    """
    assert model is not None
    assert x is not None
    proto = _traced(model, x)
    if compressed:
        compress(proto)
    write_whole(path, lambda temporary: temporary.write_bytes(proto.SerializeToString()))


def read(path: Path, model: nn.Module) -> Any:
    """What the file computes, x (B, ...) -> outputs, by onnxruntime on the CPU in as many threads as torch has.

    model: not used.
    """
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: x.numpy()})[0])

    return run


def compress(proto: Any) -> None:
    """Replace initializers of an onnx.ModelProto by their non-zero values and steps, wherever that is smaller.

    The values are scattered into zeros at the running sums of the steps.
    """
    node, to_array = _package("onnx.helper").make_node, _package("onnx.numpy_helper").to_array
    named, int64 = _package("onnx.numpy_helper").from_array, _package("onnx").TensorProto.INT64
    graph = proto.graph
    kept, nodes = [], []
    for index, initializer in enumerate(graph.initializer):
        dense = to_array(initializer)
        if dense.dtype.kind != "f" or dense.ndim < 2:
            kept.append(initializer)
            continue
        values, steps = steps_of(dense)
        if values.nbytes + steps.nbytes + OVERHEAD >= dense.nbytes:
            kept.append(initializer)
            continue
        own = f"sparse.{index}."
        kept += [named(values, f"{own}values"), named(steps, f"{own}steps")]
        kept += [named(np.array(dense.shape), f"{own}shape"), named(np.array([dense.size]), f"{own}size")]
        zero = named(np.zeros(1, dense.dtype), "zero")
        nodes += [
            node("Cast", [f"{own}steps"], [f"{own}wide"], to=int64),
            node("CumSum", [f"{own}wide", AXIS], [f"{own}places"]),
            node("ConstantOfShape", [f"{own}size"], [f"{own}zeros"], value=zero),
            node("ScatterElements", [f"{own}zeros", f"{own}places", f"{own}values"], [f"{own}flat"], axis=0),
            node("Reshape", [f"{own}flat", f"{own}shape"], [initializer.name]),
        ]
    if nodes:
        kept.append(named(np.array(0), AXIS))
    nodes += graph.node
    for field, content in ((graph.initializer, kept), (graph.node, nodes)):
        del field[:]
        field.extend(content)


def steps_of(dense: "np.ndarray[Any, Any]") -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Values (k,) and steps (k,) uint8 of an array: values[i] stands at the sum of steps[: i + 1], all others are 0.

    A step that a byte does not hold passes through entries of value 0, which are among the values.
    """
    flat = dense.reshape(-1)
    places = np.flatnonzero(flat)
    far = np.diff(places, prepend=0)
    through = np.maximum(far - 1, 0) // 255
    steps = np.full(len(far) + through.sum(), 255, np.uint8)
    ends = np.cumsum(through + 1) - 1
    steps[ends] = far - 255 * through
    values = np.zeros(len(steps), dense.dtype)
    values[ends] = flat[places]
    return values, steps


def _traced(model: nn.Module, x: Tensor) -> Any:
    """The onnx.ModelProto of a module in evaluation mode, without the places in source files that torch notes in it.

    Raises:
        InputError: the module does not take the batch, or torch cannot trace it.
    """
    _package("onnxscript")
    batch, model = x[:2].cpu(), model.eval()
    shape = ", ".join(map(str, batch.shape[1:]))
    with warnings.catch_warnings(), _silent():
        warnings.simplefilter("ignore")
        try:
            with torch.no_grad():
                model(batch)
        except Exception as error:  # a network of anyone's may raise anything
            hint = f"name samples that it takes with --data; it raised {type(error).__name__}: {_line(error)}"
            refuse("model", type(model).__name__, f"a network of inputs (B, {shape}) {batch.dtype}", hint)
        try:
            program = torch.onnx.export(
                model,
                (batch,),
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # as torch's tracer and its operators do
            cause = error.__cause__ or error
            refuse(
                "model",
                type(model).__name__,
                "one that torch.onnx can trace",
                f"{type(cause).__name__}: {_line(cause)}",
            )
    assert program is not None
    proto = program.model_proto
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.initializer, *proto.graph.value_info):
        del part.metadata_props[:]
    del proto.graph.value_info[:]
    return proto


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what torch's exporter prints and logs, such as which packages it does without, from the user."""
    before = logging.root.manager.disable
    try:
        logging.disable(logging.ERROR)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _package(name: str) -> ModuleType:
    """An optional package; InputError names the extra that brings it."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"ONNX needs the package {name.split('.')[0]}: install the extra [export]") from None
