"""Forward, loss and backward of a batch, eager, compiled or as a CUDA graph, and the evaluation of a network.

The optimizer's step is made by the loop.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import refuse
from sparse_training.data import Data
from sparse_training.devices import float32_products
from sparse_training.losses import cross_entropy
from sparse_training.runs.config import Config
from sparse_training.training import capture
from sparse_training.training.distributed import World

# What is evaluated at once on cuda, where small batches leave the device idle.
TEST_PIXELS, TEST_TOKENS = 2000 * 32 * 32, 2**16


@dataclass(frozen=True)
class BatchResult:
    """0-d tensors: the mean loss of a batch and how many of its labels the largest logit hit."""

    loss: Tensor
    correct: Tensor


class Passes:
    """Passes of one network; batches of the configured size may run compiled or captured, others run eager."""

    def __init__(self, model: nn.Module, config: Config, device: torch.device, batch_size: int) -> None:
        self.model, self._config, self._device, self._batch = model, config, device, batch_size
        self._piece = -(-batch_size // config.engine.accumulate)
        self._compiled: Callable[[Tensor], Tensor] = torch.compile(model) if config.engine.compile else model
        self._graph: _Graph | None = None

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The training loss of a batch, eager."""
        return self._loss(self._forward(x, eager=True), y)

    def __call__(self, x: Tensor, y: Tensor) -> BatchResult:
        """Gradients of the mean training loss in every parameter's `.grad`, which need not be cleared before."""
        if not self._config.engine.graphs or not capture.can_record(self._device):
            return self._backward(x, y)
        if self._graph is not None and self._graph.moved():
            self._graph = None
        if len(x) != self._batch:
            result = self._backward(x, y)
            if self._graph is not None:
                self._graph.take_gradients()
            return result
        if self._graph is None:
            self._graph = _Graph(self._backward, self.model, x, y)
        return self._graph(x, y)

    @property
    def recorded(self) -> object | None:
        """What was recorded, or None; as long as it is the same object, gradients are in the same tensors."""
        return self._graph

    @torch.no_grad()
    def evaluate(self, data: Data, world: World) -> tuple[float, float]:
        """Mean cross-entropy and accuracy in percent on the test set in evaluation mode, shared among processes."""
        self.model.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self._device)
        for index, (x, y) in enumerate(data.test(self._test_batch(data))):
            if index % world.size == world.rank:
                logits = self._forward(x).float()
                correct = (logits.argmax(-1) == y).sum()
                loss = cross_entropy(logits, y, reduction="sum")
                sums += torch.stack((loss.double(), correct.double()))
        self.model.train()
        loss, correct = (world.sum(sums) / (data.n_test * data.targets)).tolist()
        return loss, 100 * correct

    def _test_batch(self, data: Data) -> int:
        """Samples that are evaluated at once; on a CPU the last bits of results depend on their number."""
        at_once = TEST_PIXELS if data.targets == 1 else TEST_TOKENS
        return max(self._piece, at_once // prod(data.shape[-2:])) if self._device.type == "cuda" else self._piece

    def first_bad_layer(self, x: Tensor) -> str:
        """The first module, in the order of the forward pass, whose output on x is not finite; or the loss."""
        bad: list[str] = []

        def look(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: object, output: object) -> None:
                if isinstance(output, Tensor) and not bool(output.isfinite().all()):
                    bad.append(name)

            return hook

        inner = [(name, module) for name, module in self.model.named_modules() if not list(module.children())]
        handles = [module.register_forward_hook(look(name)) for name, module in inner]
        try:
            with torch.no_grad():
                self._forward(x, eager=True)
        finally:
            for handle in handles:
                handle.remove()
        return bad[0] if bad else "the loss"

    def _backward(self, x: Tensor, y: Tensor) -> BatchResult:
        self.model.zero_grad(set_to_none=True)
        results = []
        for part, labels in zip(torch.split(x, self._piece), torch.split(y, self._piece), strict=True):
            logits = self._forward(part)
            loss = self._loss(logits, labels)
            if len(part) < len(x):
                loss = loss * (len(part) / len(x))
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                results.append((loss.detach(), (logits.argmax(-1) == labels).sum()))
        losses, correct = zip(*results, strict=True)
        return BatchResult(torch.stack(losses).sum(), torch.stack(correct).sum())

    def _forward(self, x: Tensor, eager: bool = False) -> Tensor:
        if self._config.engine.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        network = self.model if eager or len(x) != self._piece else self._compiled
        with self._autocast():
            return network(x)

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(logits.float(), y, label_smoothing=self._config.label_smoothing)

    def _autocast(self) -> AbstractContextManager[object]:
        if self._config.engine.precision != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16, cache_enabled=not self._config.engine.graphs)


class _Graph:
    """A forward and backward pass recorded once and replayed on other batches of the same shape."""

    def __init__(
        self, backward: Callable[[Tensor, Tensor], BatchResult], model: nn.Module, x: Tensor, y: Tensor
    ) -> None:
        self._batch = x.clone(), y.clone()
        capture.warm_up(lambda: backward(*self._batch), list(model.buffers()), x.device)
        self._replay = capture.Recording(lambda: backward(*self._batch))
        self._gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
        self._read = [(tensor, tensor.data_ptr()) for tensor in (*model.parameters(), *model.buffers())]

    def moved(self) -> bool:
        """Whether a tensor that the recording reads has another storage by now, so that it must be recorded anew."""
        return any(tensor.data_ptr() != place for tensor, place in self._read)

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Move gradients that an eager pass has left into the tensors that hold them otherwise."""
        for parameter, gradient in self._gradients:
            if gradient is not None:
                assert parameter.grad is not None
                gradient.copy_(parameter.grad)
            parameter.grad = gradient

    def __call__(self, *batch: Tensor) -> BatchResult:
        for held, tensor in zip(self._batch, batch, strict=True):
            held.copy_(tensor)
        self._replay()
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return BatchResult(self._replay.result.loss.clone(), self._replay.result.correct.clone())


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Torch's compiler with nothing compiled yet, and with an error where it would give up and run eager."""
    torch.compiler.reset()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        yield


@contextlib.contextmanager
def computing(config: Config, device: torch.device) -> Iterator[None]:
    """Threads, precision and algorithms as configured; afterwards torch's global settings are as before.

    A network that is compiled is compiled, or an error says why not: what torch compiled before is forgotten, because
    for the ninth network in a process it would otherwise go back to the interpreter without a word.

    Raises:
        InputError: the device does not have the precision.
    """
    memory: Any = torch.utils.deterministic
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill, cudnn = memory.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    tf32 = config.engine.precision == "tf32"
    if tf32 and device.type != "cuda":
        refuse("engine.precision", "tf32", f"float32 or bfloat16 on {device.type}")
    try:
        if config.engine.threads:
            torch.set_num_threads(config.engine.threads)
        if device.type == "cuda":
            torch.use_deterministic_algorithms(config.engine.deterministic)
            memory.fill_uninitialized_memory = False  # no result depends on it, and it costs a pass
            torch.backends.cudnn.benchmark = not config.engine.deterministic
        with float32_products(tf32), compiling() if config.engine.compile else contextlib.nullcontext():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        memory.fill_uninitialized_memory = fill
        torch.backends.cudnn.benchmark = cudnn
