"""Two processes that share the samples give the product and the eigenvalue of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import sys, torch
from torch.nn.functional import cross_entropy
from sparse_training import models
from sparse_training.sharpness import HessianOperator, lanczos

group = None
if len(sys.argv) > 2:
    torch.distributed.init_process_group("gloo")
    group = torch.distributed.group.WORLD
model = models.build("mlp", in_channels=1, image_size=4, num_classes=3, seed=0).double()
draw = torch.Generator().manual_seed(0)
x, y = torch.randn(21, 1, 4, 4, generator=draw, dtype=torch.float64), torch.randint(3, (21,), generator=draw)
operator = HessianOperator(model, cross_entropy, [(x[:13], y[:13]), (x[13:], y[13:])], group=group)
image = operator @ torch.ones(operator.size, dtype=torch.float64)
pair = lanczos(operator, tol=1e-8)
if group is None or torch.distributed.get_rank() == 0:
    torch.save({"image": image, "value": pair.value, "hvps": pair.hvps, "samples": operator.samples}, sys.argv[1])
if group is not None:
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    script = tmp_path / "measure.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), "PYTHONWARNINGS": "ignore"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command in ([sys.executable, script, tmp_path / "one"], [*torchrun, script, tmp_path / "two", "share"]):
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (torch.load(tmp_path / name) for name in ("one", "two"))
    assert torch.allclose(one["image"], two["image"], rtol=1e-12, atol=1e-14)
    assert one["value"] == pytest.approx(two["value"], rel=1e-10)
    assert (one["hvps"], one["samples"]) == (two["hvps"], two["samples"])
