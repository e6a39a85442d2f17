"""A training method in a loop of one's own: its moments are the steps of the optimizer."""

from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from commons.checks import InputError, number, refuse
from sparse_training.masks import Masks
from sparse_training.methods.lifecycle import Training
from sparse_training.methods.pairing import States, unmet_need
from sparse_training.reparam import Sparse
from sparse_training.reparam.sharding import average, processes
from sparse_training.seeding import generator
from sparse_training.tensor_files import prefixed, section


class Acting(States, Protocol):
    """What is called of a `Method`."""

    begins_dense: ClassVar[bool]
    sees_gradients: ClassVar[bool]
    by_epoch: ClassVar[bool]

    def cycles(self, density: float) -> int: ...
    def prepare(self, sparse: Sparse) -> None: ...
    def enter(self, training: Training) -> None: ...
    def on_gradient(self, training: Training, batch: tuple[Tensor, ...]) -> bool: ...
    def on_step(self, training: Training) -> None: ...


class Attached:
    """A method that acts at each step of an optimizer; made by `Method.attach`.

    method: what acts. training: what it sees of the run. state: what `state_dict` gave, by name, to go on from; None
    begins.
    """

    def __init__(self, method: Acting, training: Training, state: Mapping[str, Tensor] | None) -> None:
        self.training, self._method = training, method
        if state is None:
            method.enter(training)
        else:
            self.load_state_dict(state)
        if method.sees_gradients:
            training.sparse.probe_gradients()
        training.sparse.attach(training.optimizer, self._before, self._after)

    def _before(self) -> bool:
        return self.training.step < self.training.total_steps and self._method.on_gradient(self.training, ())

    def _after(self) -> None:
        if self.training.step < self.training.total_steps:
            self.training.step += 1
            self._method.on_step(self.training)
        if self._method.sees_gradients:
            self.training.sparse.probe_gradients()

    def state_dict(self) -> dict[str, Tensor]:
        """What a restart needs beside the states of model and optimizer: tensors by name, the masks among them."""
        state = {"step": torch.tensor(self.training.step), "generator": self.training.generator.get_state()}
        return state | prefixed("memory", self.training.memory) | prefixed("mask", self.training.sparse.masks)

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave, by name; the masks become those of the weights, which are left alone.

        The state of a network that is written by factors is loaded after this, as it has to fit the masks.

        Raises:
            InputError: masks of other layers.
        """
        sparse = self.training.sparse
        sparse.load_masks(Masks(section(state_dict, "mask")).to(sparse.device))
        self.training.step = int(state_dict["step"])
        self.training.generator.set_state(state_dict["generator"].cpu())
        self.training.memory.clear()
        self.training.memory.update(section(state_dict, "memory"))


def attached(
    method: Acting,
    sparse: Sparse,
    optimizer: torch.optim.Optimizer,
    total_steps: int,
    density: float | None,
    steps_per_epoch: int | None,
    seed: int,
    state: Mapping[str, Tensor] | None,
) -> Attached:
    """`Method.attach`, which explains the arguments."""
    need = unmet_need(method, sparse.reparam)
    if need:
        raise InputError(need)
    number("total_steps", total_steps, at_least=1, integer=True)
    present = sparse.masks.density
    if method.begins_dense and present < 1 and state is None:
        refuse("sparse", f"of density {present:g}", f"dense, as {method.name} begins", "give masks of density 1")
    if density is None and method.begins_dense and not method.owns_weight:
        refuse("density", None, f"the share of weights that {method.name} keeps at the end")
    if steps_per_epoch is None and method.by_epoch:
        refuse("steps_per_epoch", None, f"a number, as {method.name} acts once an epoch")
    target = present if density is None else number("density", density, above=0, at_most=1)
    cycles = method.cycles(target)
    if total_steps % cycles:
        refuse("total_steps", total_steps, f"a multiple of {cycles}, as {method.name} trains so many times")
    before = set(sparse.model.parameters())
    method.prepare(sparse)
    new = [parameter for parameter in sparse.model.parameters() if parameter not in before]
    if new:  # such as thresholds of an optimizer that was built before
        optimizer.add_param_group({"params": new})
    training = Training(
        density=target,
        steps_per_epoch=steps_per_epoch or total_steps,
        cycle_steps=total_steps // cycles,
        total_steps=total_steps,
        generator=generator(seed, "method"),
        memory={},
        sparse=sparse,
        optimizer=optimizer,
        dense_gradient=lambda *batch: _averaged(sparse),
    )
    return Attached(method, training, state)


def _averaged(sparse: Sparse) -> dict[str, Tensor]:
    """∂loss/∂θ of all processes; those of plain weights are averaged already, by what wraps the network."""
    gradients = sparse.gradient_at_hand()
    if sparse.reparametrized:
        average(gradients.values(), processes())
    return gradients
