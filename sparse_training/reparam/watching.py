"""`Watcher`: what a sparse network does around the steps of the optimizers over it."""

import sys
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import refuse
from sparse_training.reparam.base import Reparam, groups_of
from sparse_training.reparam.layer import Layer, hold, together
from sparse_training.reparam.optimizer_states import may_overwrite_gradients, overwrites_gradients
from sparse_training.reparam.scaling import Scaling
from sparse_training.reparam.sharding import check_equal, is_sharded
from sparse_training.reparam.stepping import (
    Args,
    Named,
    check_groups,
    copies,
    put_gradients_aside,
    scale,
    step_in_parts,
    with_gradients,
)


@dataclass
class Watch:
    """What a sparse network knows of an optimizer.

    stepped: it has stepped since `Sparse.after_step` last acted. attached: each step calls `after_step` by itself.
    hooked: it tells of its steps; a wrapper that is an Optimizer in name only does not, and each call then counts as a
    step. inside: it is making the step of one layer. undo: what is to be put back after the present step. before,
    after: what a user lets happen around a step. skipped: the present step changes nothing, as `before` asked. lent:
    the parameters whose gradient the optimizer has a copy of, each with the gradient itself. frame: of torch's function
    that calls the hooks of the present step, or of one that failed.
    """

    stepped: bool
    attached: bool = False
    hooked: bool = True
    inside: bool = False
    undo: ExitStack = field(default_factory=ExitStack)
    before: Callable[[], bool] | None = None
    after: Callable[[], object] | None = None
    skipped: bool = False
    lent: list[tuple[nn.Parameter, Tensor]] = field(default_factory=list)
    frame: FrameType | None = None

    def within(self, frame: FrameType) -> bool:
        """Whether the hooks of this frame are of a base class's step, which the optimizer's own step calls inside."""
        outer = None if self.frame is None else frame.f_back
        while outer is not None and outer is not self.frame:
            outer = outer.f_back
        return outer is not None

    def lend_gradients(self, layers: Sequence[Layer]) -> None:
        """Give the optimizer copies of the layers' gradients, which it may overwrite."""
        parameters = [parameter for layer in layers for parameter in layer.parameters]
        self.lent = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
        for (parameter, _), copy in zip(self.lent, copies([gradient for _, gradient in self.lent]), strict=True):
            parameter.grad = copy

    def take_back_gradients(self) -> None:
        """Put the gradients themselves back after the step."""
        for parameter, gradient in self.lent:
            parameter.grad = gradient
        self.lent = []


class Watcher:
    """Scales before a step, and after it lets the reparametrization follow and keeps inactive entries at 0.

    layers, reparam, scaling: as in `Sparse`, whose methods of the same names explain what happens.
    """

    def __init__(self, layers: list[Layer], reparam: Reparam | None, scaling: Scaling | None) -> None:
        self._layers, self._reparam, self._scaling = layers, reparam, scaling
        self._watches: weakref.WeakKeyDictionary[torch.optim.Optimizer, Watch] = weakref.WeakKeyDictionary()
        self.wrote()

    def __getstate__(self) -> dict[str, Any]:
        """A copy knows no optimizer, because those that exist hold the parameters of the original."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_watches", "_versions")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._watches = weakref.WeakKeyDictionary()
        self.wrote()

    def wrote(self) -> None:
        """Take the parameters as they are now for written by someone else than an optimizer."""
        self._versions = self._written()

    def attach(
        self,
        optimizer: torch.optim.Optimizer,
        before: Callable[[], bool] | None,
        after: Callable[[], object] | None,
    ) -> None:
        seen = optimizer in self._watches
        watch = self._watch(optimizer)
        if not watch.hooked:
            refuse("optimizer", type(optimizer).__name__, "one with step hooks", "attach the one that it wraps")
        watch.attached, watch.stepped = True, seen and watch.stepped
        watch.before, watch.after = before or watch.before, after or watch.after

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        late = optimizer not in self._watches and self._reads_gradient and overwrites_gradients(optimizer)
        watch = self._watch(optimizer)
        if (self._acts_before or late) and not watch.attached:
            what = type(self._reparam if self._scaling is None else self._scaling).__name__
            refuse("optimizer", type(optimizer).__name__, f"attached before its first step, as {what} asks")
        held = self._held(optimizer)
        if (watch.stepped or not watch.hooked) and self._reparam is not None:
            self._reparam.after_step(_trained(held), optimizer)
        watch.stepped = False
        hold(held, optimizer)

    @torch.no_grad()
    def reset(self, optimizer: torch.optim.Optimizer | None) -> None:
        if optimizer is not None:
            self._watch(optimizer)
        if self._reparam is not None:
            self._reparam.reset(_trained(self._layers), optimizer)
        self.wrote()

    def _watch(self, optimizer: torch.optim.Optimizer) -> Watch:
        """What is known of an optimizer; one that is seen for the first time is checked and watched from then on."""
        known = self._watches.get(optimizer)
        if known is not None:
            return known
        self._shard()
        if self._layers and not self._held(optimizer):
            refuse("optimizer", type(optimizer).__name__, "built over the sparse network", "build it after sparsify")
        if self._reparam is not None:
            self._reparam.check_optimizer(optimizer)
        by_layer, own_decay = self.by_layer, self._reparam is not None and not self._reparam.decay_share
        check_groups(optimizer, self._held(optimizer), by_layer, own_decay)
        watch = self._watches[optimizer] = Watch(self._seems_stepped(optimizer))
        itself = weakref.ref(self)

        def about_to_step(optimizer: torch.optim.Optimizer, args: Args, named: Named) -> tuple[Args, Named] | None:
            watcher = itself()
            frame = sys._getframe(1)
            if watcher is None or watch.inside or watch.within(frame):
                return None
            watch.frame = frame
            called = None
            if watch.attached and (watcher._acts_before or watch.before is not None):
                called = with_gradients(optimizer, args, named)
                watcher._before_step(optimizer, watch)
            closure = called is None and any(callable(value) for value in (*args[1:], *named.values()))
            scaled = getattr(optimizer, "grad_scale", None) is not None
            if watcher._reads_gradient and not closure and not scaled and may_overwrite_gradients(optimizer):
                watch.lend_gradients(watcher._held(optimizer))
            return called

        def stepped(optimizer: torch.optim.Optimizer, *_: object) -> None:
            if watch.inside or watch.within(sys._getframe(1)):
                return
            watch.frame = None
            watch.take_back_gradients()
            with watch.undo:
                watcher, found_inf = itself(), getattr(optimizer, "found_inf", None)
                skipped_inside = found_inf is not None and bool(found_inf)  # by a fused optimizer
                if watcher is None or skipped_inside:
                    return
                watch.stepped, watch.skipped = not watch.skipped, False
                if watch.attached:
                    watcher.after_step(optimizer)
                    if watch.after is not None:
                        watch.after()

        try:
            optimizer.register_step_post_hook(stepped)
            optimizer.register_step_pre_hook(about_to_step)
        except AttributeError:
            watch.hooked = False
        return watch

    def _shard(self) -> None:
        """Shard the masks as `fully_shard` has sharded their weights since, after a check that processes have the same.

        Raises:
            InputError: the masks of two processes differ.
        """
        new = [layer for layer in self._layers if is_sharded(layer.parameters[0]) and not is_sharded(layer.mask)]
        if new:
            check_equal({layer.name: layer.mask for layer in new})
        for layer in new:
            layer.shard()

    @property
    def by_layer(self) -> bool:
        """Whether each layer needs a parameter group of its own."""
        return self._scaling is not None and self._scaling.by_layer

    @property
    def _acts_before(self) -> bool:
        """Whether something happens before a step, so that the optimizer must be attached."""
        return self._scaling is not None or (self._reparam is not None and self._reparam.layerwise)

    @property
    def _reads_gradient(self) -> bool:
        """Whether the reparametrization reads, after a step, the gradients that the step used."""
        return self._reparam is not None and self._reparam.reads_gradient

    @torch.no_grad()
    def _before_step(self, optimizer: torch.optim.Optimizer, watch: Watch) -> None:
        """Scale gradients and learning rates, and step the layers one by one, as scaling and reparametrization ask."""
        watch.undo.close()  # of a step that failed
        if watch.before is not None and watch.before():
            watch.undo.push(put_gradients_aside(optimizer))
            watch.skipped = True
            return
        groups, held = groups_of(optimizer), self._held(optimizer)
        if self._scaling is not None:
            watch.undo.push(scale(self._scaling, self._layers, held, groups))
        if self._reparam is not None and self._reparam.layerwise:
            follow = self._reparam.after_layers
            watch.inside = True
            try:
                undo = step_in_parts(
                    optimizer,
                    together(held, groups),
                    lambda layers, befores: follow(layers, befores, optimizer, groups),
                )
            finally:
                watch.inside = False
            watch.undo.push(undo)

    def _held(self, optimizer: torch.optim.Optimizer) -> list[Layer]:
        """The layers whose weights the optimizer steps."""
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return [layer for layer in self._layers if any(id(p) in held for p in layer.parameters)]

    def _seems_stepped(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether an optimizer that nobody watched has made a step: it wrote to weights, and with finite gradients."""
        parameters = [parameter for layer in self._held(optimizer) for parameter in layer.parameters]
        wrote = self._written() != self._versions or any(optimizer.state.get(p) for p in parameters)
        return wrote and all(bool(p.grad.isfinite().all()) for p in parameters if p.grad is not None)

    def _written(self) -> list[int]:
        """How often each parameter has been written to, as torch counts it."""
        return [parameter._version for layer in self._layers for parameter in layer.parameters]


def _trained(layers: list[Layer]) -> list[Layer]:
    """The layers of which something is trained; a reparametrization leaves the others alone."""
    return [layer for layer in layers if not layer.frozen]
