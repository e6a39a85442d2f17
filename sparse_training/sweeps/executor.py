"""What a place where runs are made offers to a sweep: jobs go in, endings come out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sparse_training.sweeps.job import Ending, Job


@dataclass(frozen=True)
class Ended:
    """How a job ended, and why unless it is done."""

    job: Job
    ending: Ending
    reason: str = ""


class Executor(ABC):
    """Makes runs somewhere. As a context manager it is closed at the end, when no job is left running.

    slots: jobs that it takes at once; a sweep submits no more, so that it can still choose what comes next.
    """

    slots: int

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs, at most as many as there are free slots."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Ended]:
        """Jobs that have ended since the last call; returns when there are any, or after this time."""

    @abstractmethod
    def stop(self) -> None:
        """Have every running job save its state and end; `wait` tells of them no more."""

    @abstractmethod
    def close(self) -> None:
        """Release what is held; jobs that still run are stopped."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
