"""`Sparse`: a network that keeps its masks under any optimizer, reparametrized or not, and merges to a plain one.

What is proved: where a weight is a product of two or more factors that are 0, every gradient of a factor is 0, so an
optimizer that treats each entry by itself and uses first-order gradients leaves it at 0. What is enforced: after each
step every weight, every factor and every state tensor that is known to hold one entry a weight is set to 0 off the
mask, whatever the optimizer does (`optimizer_states.STATES` says which tensors these are).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from commons.checks import InputError, refuse
from sparse_training.masks import Masks
from sparse_training.reparam import gradients
from sparse_training.reparam.base import Reparam
from sparse_training.reparam.layer import Layer
from sparse_training.reparam.merging import merged, refresh_recurrent
from sparse_training.reparam.scaling import Scaling
from sparse_training.reparam.sharding import is_sharded, local, sharded_like, whole
from sparse_training.reparam.stepping import parameter_groups
from sparse_training.reparam.watching import Watcher


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
        self._watcher = Watcher(layers, reparam, scaling)

    def __repr__(self) -> str:
        masks, how = self.masks, "plain weights" if self.reparam is None else repr(self.reparam)
        counts = f"{len(masks)} masked weights, {masks.active:,} of {masks.total:,} entries active"
        return f"Sparse({type(self.model).__name__}, {counts}, density {masks.density:.4%}, {how})"

    def __getstate__(self) -> dict[str, Any]:
        refresh_recurrent(self.model)
        return self.__dict__

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
        self._watcher.wrote()

    def load_masks(self, masks: Mapping[str, Tensor]) -> None:
        """Take masks, in any order, as the support that the weights already have; nothing is zeroed or grown.

        Raises:
            InputError: masks of other layers or shapes.
        """
        masks = Masks(masks)
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
        self._watcher.attach(optimizer, before, after)

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the reparametrization follow a step, and keep inactive weights, factors and their state at exactly 0.

        To be called after each step of an optimizer that is not attached. The reparametrization acts only if the
        optimizer has made a step since the last call: not, for example, where `torch.amp.GradScaler` skipped it.

        Raises:
            InputError: the optimizer holds none of the weights as they are written now, or the reparametrization
                cannot work with it.
        """
        self._watcher.after_step(optimizer)

    @torch.no_grad()
    def reset(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Redistribute the factors at unchanged θ, as the reparametrization has it; without one nothing happens.

        Raises:
            InputError: as `after_step`.
        """
        self._watcher.reset(optimizer)

    @torch.no_grad()
    def set_masks(self, masks: Mapping[str, Tensor], optimizer: torch.optim.Optimizer | None = None) -> None:
        """Change the support: what is dropped becomes 0 with its optimizer state, what is grown starts at θ = 0.

        A grown Sign-In weight starts at m = √β, w = 0. Optimizer state with one entry a weight is 0 wherever the
        support changed.

        Raises:
            InputError: masks of other layers or shapes, or factors that are stored for the present support alone.
        """
        masks = Masks(masks)
        check_same_layers(masks, self._layers)
        for layer in self._layers:
            layer.change_mask(masks[layer.name], optimizer)
        self._watcher.wrote()

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
        return parameter_groups(self.model, self._layers, weight_decay, share, vectors, self._watcher.by_layer)


def check_same_layers(masks: Mapping[str, Tensor], layers: Sequence[Layer]) -> None:
    """Raise InputError unless the masks are of these layers, in shape and order."""
    given = [(name, tuple(mask.shape)) for name, mask in masks.items()]
    expected = [(layer.name, tuple(layer.mask.shape)) for layer in layers]
    if given != expected:
        refuse("masks", given, f"those of the present layers, {expected}")
