"""`Sparse`: a network that keeps its masks under any optimizer, reparametrized or not, and merges to a plain one.

What is proved: where a weight is a product of two or more factors that are 0, every gradient of a factor is 0, so an
optimizer that treats each entry by itself and uses first-order gradients leaves it at 0. What is enforced: after each
step every weight, every factor and every state tensor that is known to hold one entry a weight is set to 0 off the
mask, whatever the optimizer does (`optimizer_states.STATES` says which tensors these are).
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from commons.checks import InputError, refuse
from sparse_training.masks import Masks
from sparse_training.reparam import gradients
from sparse_training.reparam.base import Reparam, groups_of
from sparse_training.reparam.layer import Layer, hold, together
from sparse_training.reparam.merging import merged, refresh_recurrent
from sparse_training.reparam.optimizer_states import overwrites_gradients
from sparse_training.reparam.scaling import Scaling
from sparse_training.reparam.sharding import check_equal, is_sharded, local, sharded_like, whole
from sparse_training.reparam.stepping import (
    Args,
    Named,
    Watch,
    check_groups,
    parameter_groups,
    put_gradients_aside,
    scale,
    step_in_parts,
    with_gradients,
)


class Sparse:
    """A network with masks on its prunable weights; made by `sparsify`.

    model: the network, changed in place. layers: its masked weights, from input to output. reparam: how its weights are
    written, or None. names: the keys of the state dict that the network had before. scaling: what multiplies gradients
    or learning rates before each step, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: list[Layer],
        reparam: Reparam | None,
        names: list[str],
        scaling: Scaling | None = None,
    ) -> None:
        self.model, self.reparam, self.scaling, self._layers = model, reparam, scaling, layers
        self._names = names
        self._watches: weakref.WeakKeyDictionary[torch.optim.Optimizer, Watch] = weakref.WeakKeyDictionary()
        self._versions = self._written()

    def __repr__(self) -> str:
        masks, how = self.masks, "plain weights" if self.reparam is None else repr(self.reparam)
        counts = f"{len(masks)} masked weights, {masks.active:,} of {masks.total:,} entries active"
        return f"Sparse({type(self.model).__name__}, {counts}, density {masks.density:.4%}, {how})"

    def __getstate__(self) -> dict[str, Any]:
        """A copy knows no optimizer, because those that exist hold the parameters of the original."""
        refresh_recurrent(self.model)
        return {name: value for name, value in self.__dict__.items() if name not in ("_watches", "_versions")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._watches = weakref.WeakKeyDictionary()
        self._versions = self._written()

    @property
    def reparametrized(self) -> bool:
        """Whether the optimizer holds factors instead of θ."""
        return any(layer.factors is not None for layer in self._layers)

    @property
    def recordable(self) -> bool:
        """Whether a CUDA graph may record the steps of an optimizer that is attached; see `Reparam` and `Scaling`."""
        if self.scaling is not None and not self.scaling.recordable:
            return False
        if self.reparam is None or self.reparam.recordable:
            return True
        kind = type(self.reparam)
        hooks = ("after_step", "after_layer", "after_layers")
        return all(getattr(kind, name) is getattr(Reparam, name) for name in hooks)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The masked weights, from input to output."""
        return tuple(self._layers)

    @property
    def masks(self) -> Masks:
        """The present support, in tensors of its own, which later changes of the support do not reach."""
        return Masks({layer.name: whole(layer.mask).clone() for layer in self._layers})

    @property
    def device(self) -> torch.device:
        """The device that holds the masked weights."""
        return self._layers[0].mask.device

    def weights(self) -> dict[str, Tensor]:
        """θ of every masked weight by parameter name, in the parameter's shape, detached; not to be written to.

        Of weights that `fully_shard` has sharded the parts are put together, for which every process must ask.
        """
        with torch.no_grad():
            return {layer.name: whole(layer.theta.detach()) for layer in self._layers}

    def state_dict(self) -> dict[str, Tensor]:
        """The state dict of the plain network, as that of `merge()`, without building one."""
        state, merged = self.model.state_dict(), self._merged()
        return {name: merged[name] if name in merged else whole(state[name]) for name in self._names}

    def _merged(self) -> dict[str, Tensor]:
        """θ of every masked weight by each of its names."""
        weights = self.weights()
        return weights | {other: weights[layer.name] for layer in self._layers for other in layer.others}

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take the weights of a plain network, such as `state_dict` gives; factors are those of the chart at θ.

        The masks stay. To go on with training bit for bit, load `model.state_dict()` instead, which holds the factors
        themselves and the masks.

        Raises:
            InputError: names or shapes that are not the network's, or a weight that is not 0 off its mask; nothing is
                loaded then.
        """
        present = self.state_dict()
        for name in (*present, *state_dict):
            if name not in state_dict or name not in present:
                refuse("state_dict", name, "a name of both the state and the network")
            if state_dict[name].shape != present[name].shape:
                shape = tuple(state_dict[name].shape)
                refuse(f"state_dict[{name!r}].shape", shape, f"the shape {tuple(present[name].shape)} of the network's")
        for layer in self._layers:
            value = local(sharded_like(state_dict[layer.name].to(layer.mask.device), layer.mask))
            outside = int((value != 0)[~local(layer.mask)].sum())
            if outside:
                hint = "sparsify the network with the masks of that state"
                refuse(f"state_dict[{layer.name!r}]", f"{outside} non-zero weights", "0 off the network's masks", hint)
            if layer.factors is None and parametrize.is_parametrized(layer.module, layer.attribute):
                raise InputError(f"{layer.name} is written by the training method, so a plain weight cannot be loaded")
        masked = {layer.name: layer for layer in self._layers}
        again = {other for layer in self._layers for other in layer.others}
        own = self.model.state_dict()
        for name, value in state_dict.items():
            if name in again:
                continue
            if name not in masked:
                own[name].copy_(sharded_like(value, own[name]))
                continue
            layer = masked[name]
            theta = sharded_like(value.to(layer.mask.device, layer.theta.dtype), layer.mask)
            new = (theta,) if layer.factors is None else layer.factors.right_inverse(theta)
            for parameter, factor in zip(layer.parameters, new, strict=True):
                parameter.copy_(factor)
        self._versions = self._written()

    def load_masks(self, masks: Masks) -> None:
        """Take masks, in any order, as the support that the weights already have; nothing is zeroed or grown.

        Raises:
            InputError: masks of other layers or shapes.
        """
        in_order = {layer.name: masks[layer.name] for layer in self._layers if layer.name in masks}
        check_same_layers(in_order | dict(masks), self._layers)
        for layer in self._layers:
            layer.use_mask(masks[layer.name])

    def attach(
        self,
        optimizer: torch.optim.Optimizer,
        before: Callable[[], bool] | None = None,
        after: Callable[[], object] | None = None,
    ) -> None:
        """Let every step of the optimizer be followed by `after_step`, which then need not be called.

        Calling it all the same changes nothing, and neither does a second `attach`.

        before: called when the gradients of a step are there; where it returns True no weight is stepped. after: called
        at the end of each step, skipped ones too. Those of an earlier call stay where None is given.

        Raises:
            InputError: as `after_step`, or the optimizer has no step hooks.
        """
        seen = optimizer in self._watches
        watch = self._watch(optimizer)
        if not watch.hooked:
            refuse("optimizer", type(optimizer).__name__, "one with step hooks", "attach the one that it wraps")
        watch.attached, watch.stepped = True, seen and watch.stepped
        watch.before, watch.after = before or watch.before, after or watch.after

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the reparametrization follow a step, and keep inactive weights, factors and their state at exactly 0.

        To be called after each step of an optimizer that is not attached. The reparametrization acts only if the
        optimizer has made a step since the last call: not, for example, where `torch.amp.GradScaler` skipped it.

        Raises:
            InputError: the optimizer holds none of the weights as they are written now, or the reparametrization
                cannot work with it.
        """
        late = optimizer not in self._watches and self._reads_gradient and overwrites_gradients(optimizer)
        watch = self._watch(optimizer)
        if (self._acts_before or late) and not watch.attached:
            what = type(self.reparam if self.scaling is None else self.scaling).__name__
            refuse("optimizer", type(optimizer).__name__, f"attached before its first step, as {what} asks")
        held = self._held(optimizer)
        if (watch.stepped or not watch.hooked) and self.reparam is not None:
            self.reparam.after_step(_trained(held), optimizer)
        watch.stepped = False
        hold(held, optimizer)

    @torch.no_grad()
    def reset(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Redistribute the factors at unchanged θ, as the reparametrization has it; without one nothing happens.

        Raises:
            InputError: as `after_step`.
        """
        if optimizer is not None:
            self._watch(optimizer)
        if self.reparam is not None:
            self.reparam.reset(_trained(self._layers), optimizer)
        self._versions = self._written()

    def _watch(self, optimizer: torch.optim.Optimizer) -> Watch:
        """What is known of an optimizer; one that is seen for the first time is checked and watched from then on."""
        known = self._watches.get(optimizer)
        if known is not None:
            return known
        self._shard()
        if self._layers and not self._held(optimizer):
            refuse("optimizer", type(optimizer).__name__, "built over the sparse network", "build it after sparsify")
        if self.reparam is not None:
            self.reparam.check_optimizer(optimizer)
        by_layer, own_decay = self._by_layer, self.reparam is not None and not self.reparam.decay_share
        check_groups(optimizer, self._held(optimizer), by_layer, own_decay)
        watch = self._watches[optimizer] = Watch(self._seems_stepped(optimizer))
        itself = weakref.ref(self)

        def about_to_step(optimizer: torch.optim.Optimizer, args: Args, named: Named) -> tuple[Args, Named] | None:
            sparse = itself()
            if sparse is None or watch.inside:
                return None
            called = None
            if watch.attached and (sparse._acts_before or watch.before is not None):
                called = with_gradients(optimizer, args, named)
                sparse._before_step(optimizer, watch)
            closure = called is None and any(callable(value) for value in (*args[1:], *named.values()))
            if sparse._reads_gradient and not closure and getattr(optimizer, "grad_scale", None) is None:
                watch.lend_gradients(sparse._held(optimizer))
            return called

        def stepped(optimizer: torch.optim.Optimizer, *_: object) -> None:
            if watch.inside:
                return
            watch.take_back_gradients()
            with watch.undo:
                sparse, found_inf = itself(), getattr(optimizer, "found_inf", None)
                if sparse is None or (
                    found_inf is not None and bool(found_inf)
                ):  # a fused step that was skipped inside
                    return
                watch.stepped, watch.skipped = not watch.skipped, False
                if watch.attached:
                    sparse.after_step(optimizer)
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
    def _by_layer(self) -> bool:
        """Whether each layer needs a parameter group of its own."""
        return self.scaling is not None and self.scaling.by_layer

    @property
    def _acts_before(self) -> bool:
        """Whether something happens before a step, so that the optimizer must be attached."""
        return self.scaling is not None or (self.reparam is not None and self.reparam.layerwise)

    @property
    def _reads_gradient(self) -> bool:
        """Whether the reparametrization reads, after a step, the gradients that the step used."""
        return self.reparam is not None and self.reparam.reads_gradient

    @torch.no_grad()
    def _before_step(self, optimizer: torch.optim.Optimizer, watch: Watch) -> None:
        """Scale gradients and learning rates, and step the layers one by one, as scaling and reparametrization ask."""
        watch.undo.close()  # of a step that failed
        if watch.before is not None and watch.before():
            watch.undo.push(put_gradients_aside(optimizer))
            watch.skipped = True
            return
        groups, held = groups_of(optimizer), self._held(optimizer)
        if self.scaling is not None:
            watch.undo.push(scale(self.scaling, self._layers, held, groups))
        if self.reparam is not None and self.reparam.layerwise:
            follow = self.reparam.after_layers
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

    @torch.no_grad()
    def set_masks(self, masks: Masks, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Change the support: what is dropped becomes 0 with its optimizer state, what is grown starts at θ = 0.

        A grown Sign-In weight starts at m = √β, w = 0. Optimizer state with one entry a weight is 0 wherever the
        support changed.

        Raises:
            InputError: masks of other layers or shapes, or factors that are stored for the present support alone.
        """
        check_same_layers(masks, self._layers)
        for layer in self._layers:
            if layer.compact:
                layer.use_mask(masks[layer.name])
                continue
            new = sharded_like(masks[layer.name].to(layer.mask.device), layer.mask)
            unchanged, grown = layer.mask & new, new & ~layer.mask
            for tensor in layer.states(optimizer) if optimizer is not None else ():
                tensor.masked_fill_(~unchanged, 0.0)
            for parameter in layer.parameters:
                parameter.masked_fill_(~unchanged, 0.0)
            layer.use_mask(new)
            if layer.factors is not None:
                start = layer.factors.right_inverse(torch.zeros_like(layer.theta))
                for parameter, value in zip(layer.parameters, start, strict=True):
                    parameter.copy_(torch.where(grown, value, parameter))
        self._versions = self._written()

    def mask_gradients(self) -> None:
        """Set the gradients of inactive weights and factors to 0, for a norm over the active ones."""
        for layer in self._layers:
            for parameter in () if layer.compact else layer.parameters:
                if parameter.grad is not None:
                    parameter.grad.masked_fill_(~layer.mask, 0.0)

    def dense_gradient(self, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
        """∂loss/∂θ of every masked weight by its name, inactive entries too; shapes and dtypes of the weights.

        Without factors this is the gradient at hand. With factors loss() is evaluated once more, and the network's
        buffers, its gradients and the random state stay as they were. It is 0 for a frozen weight.
        """
        if not self.reparametrized:
            return gradients.at_hand(self._layers)
        return gradients.evaluated(self.model, self._layers, loss)

    def probe_gradients(self) -> None:
        """Let backward passes gather from now on what `gradient_at_hand` returns where factors write the weights."""
        gradients.probe(self._layers)

    def gradient_at_hand(self) -> dict[str, Tensor]:
        """∂loss/∂θ by name, as `dense_gradient`, of the backward passes since `probe_gradients`, or `zero_grad`."""
        return gradients.at_hand(self._layers)

    def merge(self) -> nn.Module:
        """A plain copy of the network whose outputs are bit-identical: each weight is the product of its factors."""
        if any(is_sharded(layer.parameters[0]) for layer in self._layers):
            hint = "load sparse.state_dict() into a plain network, which puts the parts together"
            refuse("model", type(self.model).__name__, "a network that each process has as a whole", hint)
        return merged(self.model, self._layers, self._names)

    def parameter_groups(self, weight_decay: float, *, vectors: bool = True) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer under which θ decays as a plain weight with `weight_decay` does.

        Each factor gets the share of it that the reparametrization states: a decay λ of both factors of θ = m w acts
        as 2λ on θ, so each factor of Sign-In gets half. Where the reparametrization lets θ decay itself, the optimizer
        gets none and the group states "theta_decay". With a scaling by layer there is a group for each
        layer. vectors: False leaves biases and normalisations without decay.
        """
        share = 1.0 if self.reparam is None else self.reparam.decay_share
        return parameter_groups(self.model, self._layers, weight_decay, share, vectors, self._by_layer)


def _trained(layers: list[Layer]) -> list[Layer]:
    """The layers of which something is trained; a reparametrization leaves the others alone."""
    return [layer for layer in layers if not layer.frozen]


def check_same_layers(masks: Mapping[str, Tensor], layers: Sequence[Layer]) -> None:
    """Raise InputError unless the masks are of these layers, in shape and order."""
    given = [(name, tuple(mask.shape)) for name, mask in masks.items()]
    expected = [(layer.name, tuple(layer.mask.shape)) for layer in layers]
    if given != expected:
        refuse("masks", given, f"those of the present layers, {expected}")
