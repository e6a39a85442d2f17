"""Rows and files of the `sharpness` command: every value with its error, its cost and what it was measured on."""

from pathlib import Path
from typing import Any

import numpy as np

from commons.files import write_csv, write_whole
from sparse_training.sharpness.along import Question
from sparse_training.sharpness.density import spectral_density
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.layers import layer_eigenvalues
from sparse_training.sharpness.losses import accuracy
from sparse_training.sharpness.operator import HessianOperator
from sparse_training.sharpness.sources import Checkpoint, Samples
from sparse_training.sharpness.trace_estimates import trace

LINE = np.linspace(-1, 1, 41)


def row(checkpoint: Checkpoint, hessian: HessianOperator, question: Question, **measured: Any) -> dict[str, Any]:
    """Return one line of the table; all have the same columns.

    beta: the β of the layers in spaces other than θ, as "first to last" where it is not the same in all.
    """
    empty = dict.fromkeys(("layer", "residual", "upper_bound", "hvps", "gradient_equivalents", "converged", "reason"))
    return {
        "epoch": checkpoint.epoch,
        "quantity": "",
        "space": question.space,
        "beta": None if question.space == "theta" else _beta(checkpoint),
        "curvature": hessian.curvature,
        "params": question.params if question.space == "theta" else "factored",
        "samples": hessian.samples,
        "coordinates": hessian.size,
        "value": None,
        "error": None,
        **empty,
        "loss": hessian.value,
        "accuracy": accuracy(hessian.outputs()),
        **measured,
    }


def _beta(checkpoint: Checkpoint) -> float | str | None:
    first, *others = dict.fromkeys((checkpoint.betas or {}).values()) or (None,)
    return f"{first:.6g} to {others[-1]:.6g}" if others else first


def pair_columns(pair: Eigenpair) -> dict[str, Any]:
    """Return the columns that an eigenpair fills."""
    names = ("value", "error", "residual", "upper_bound", "hvps", "gradient_equivalents", "converged", "reason")
    return {"coordinates": len(pair.vector), **{name: getattr(pair, name) for name in names}}


def trace_row(checkpoint: Checkpoint, hessian: HessianOperator, question: Question) -> dict[str, Any]:
    """Return the row of the trace, whose error is half the width of the 99 % interval."""
    before = hessian.products
    found = trace(hessian, seed=question.seed)
    half = (found.high - found.low) / 2
    told = f"99 % interval from {found.n} probes"
    spent = hessian.products - before
    return row(checkpoint, hessian, question, quantity="trace", value=found.mean, error=half, hvps=spent, reason=told)


def layer_rows(
    checkpoint: Checkpoint, hessian: HessianOperator, samples: Samples, question: Question, kinds: bool = False
) -> list[dict[str, Any]]:
    """Return a row with λ_max of each layer's block, or with `kinds` of each kind's."""
    pairs = layer_eigenvalues(
        checkpoint.model,
        samples.loss,
        samples.batches,
        checkpoint.masks,
        params=question.params,
        kinds=kinds,
        tol=question.tol,
        seed=question.seed,
        curvature=question.curvature,
    )
    return [
        row(
            checkpoint,
            hessian,
            question,
            quantity="λ_max of block",
            layer=name,
            **pair_columns(pair),
        )
        for name, pair in pairs.items()
    ]


def save_spectrum(path: Path, hessian: HessianOperator, seed: int) -> None:
    """Write the spectral density as .npz: grid, mean, low, high, nodes, weights, bandwidth."""
    found = spectral_density(hessian, seed=seed)
    arrays = {name: getattr(found, name) for name in ("grid", "mean", "low", "high", "nodes", "weights", "bandwidth")}
    write_whole(path, lambda temporary: np.savez(temporary, **arrays))


def save_line(path: Path, hessian: HessianOperator, pair: Eigenpair) -> None:
    """Write as .csv the loss at θ + t·v along the top eigenvector v, and the parabola that gradient and λ predict."""
    slope = float(hessian.gradient.double() @ pair.vector.double())
    write_csv(
        path,
        [
            {
                "t": t,
                "loss": hessian.loss_at(t * pair.vector),
                "parabola": hessian.value + slope * t + pair.value * t * t / 2,
            }
            for t in map(float, LINE)
        ],
    )
