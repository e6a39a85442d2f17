"""A run to harm, and the table of what was injected and what survived, printed at the end."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from faults.injection import CONFIG, content, forked, train_in

from commons.tables import aligned
from sparse_training.training.loop import train


class Ledger:
    """What was injected, by kind: each fault is told here, and `close` fails the test where one did harm."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self.faults: list[tuple[str, str]] = []
        self._properties = properties

    def add(self, kind: str, harm: str, what: object = "") -> None:
        """One fault; harm is empty where it was survived. what: which fault it was."""
        self.faults.append((kind, f"{what}: {harm}" if harm else ""))

    def close(self) -> None:
        """Tell the table, and fail where a fault did harm."""
        injected = Counter(kind for kind, _ in self.faults)
        survived = Counter(kind for kind, harm in self.faults if not harm)
        self._properties += [("fault", (kind, count, survived[kind])) for kind, count in injected.items()]
        harms = [f"{kind}: {harm}" for kind, harm in self.faults if harm]
        assert not harms, f"{len(harms)} of {len(self.faults)} faults did harm:\n" + "\n".join(harms[:20])
        assert self.faults


@pytest.fixture
def ledger(request):
    return Ledger(request.node.user_properties)


@pytest.fixture(scope="session", autouse=True)
def warm(tmp_path_factory):
    """All that a run imports is imported before the first fork, so that forked runs are short."""
    train(CONFIG, tmp_path_factory.mktemp("warm") / "run")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run. Only read from it: `copy` it to do it harm."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    told = forked(train_in(folder))
    assert told.status == 0, told.err
    return folder


@pytest.fixture(scope="session")
def expected(finished):
    """What a reader gets from the finished run."""
    return content(finished)


@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    """The same run, ended after its second epoch."""
    folder = tmp_path_factory.mktemp("begun") / "run"

    def half() -> None:
        def stop(metrics):
            if metrics["epoch"] == 2:
                os._exit(3)

        train(CONFIG, folder, progress=stop)

    assert forked(half).status == 3
    return folder


@pytest.fixture
def copy(tmp_path):
    """copy(folder): a fresh copy of a run."""
    made = []

    def copied(folder: Path) -> Path:
        made.append(tmp_path / f"copy-{len(made)}")
        if len(made) > 1:
            shutil.rmtree(made[-2], ignore_errors=True)
        shutil.copytree(folder, made[-1])
        return made[-1]

    return copied


def pytest_terminal_summary(terminalreporter):
    injected, survived = Counter(), Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for _, (kind, count, good) in (p for p in report.user_properties if p[0] == "fault"):
                    injected[kind] += count
                    survived[kind] += good
    if injected:
        rows = [{"kind": kind, "injected": injected[kind], "survived": survived[kind]} for kind in sorted(injected)]
        rows.append({"kind": "all", "injected": injected.total(), "survived": survived.total()})
        terminalreporter.write_line("\n" + aligned(rows))
