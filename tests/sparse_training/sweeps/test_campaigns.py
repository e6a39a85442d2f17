"""The campaigns that ship are plans whose arms are all different runs."""

from pathlib import Path

import pytest

from sparse_training.sweeps import load_plan
from sparse_training.sweeps.addresses import address

CAMPAIGNS = sorted((Path(__file__).parents[3] / "campaigns").glob("*.toml"))


@pytest.mark.parametrize("file", CAMPAIGNS, ids=lambda file: file.stem)
def test_a_campaign_is_a_plan(file: Path) -> None:
    plan = load_plan(file, root="anywhere" if "cifar" in file.stem else "")
    origins = [f"{each.source.label}: {each.start}" if each.source else "" for each in plan.treatments]
    addresses = {address(each.config, "data", origin) for each, origin in zip(plan.treatments, origins, strict=True)}
    assert len(addresses) == len(plan.treatments) > 1
    assert plan.against
