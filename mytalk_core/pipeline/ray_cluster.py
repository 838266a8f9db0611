"""Workers on a Ray cluster, which places, watches and restarts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .batch import Answer, Loading, Worker, WorkerLost
from .jobs import Job


@dataclass(eq=False)
class RayWorker:
    """A worker on the cluster, and what it is to answer next."""

    handle: Any
    answer: Any


class RayCluster:
    """An `Engine` on the cluster that RAY_ADDRESS or this machine knows, else on one of this machine alone.

    Every node needs MyTalk, and the same paths: a shared file system. cuda: whether a worker needs a card.
    Raises ValueError where Ray is not installed.
    """

    def __init__(self, cuda: bool = False) -> None:
        try:
            import ray
        except ImportError:
            raise ValueError(
                "the engine ray needs Ray, which is not installed: python -m pip install 'mytalk[ray]'"
            ) from None
        self._ray, self._cuda = ray, cuda
        if not ray.is_initialized():
            ray.init(log_to_driver=False)

    def room(self, threads: int) -> int:
        """How many workers of so many threads the cluster has room for now, at least 1."""
        key, each = ("GPU", 1) if self._cuda else ("CPU", threads)
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        return max(1, sum(int(node["Resources"].get(key, 0) // each) for node in nodes))

    def start(self, loading: Loading) -> RayWorker:
        """See `Engine.start`."""
        needs = {"num_cpus": loading.threads, "num_gpus": int(self._cuda)}
        spread = self._ray.remote(Worker).options(**needs, scheduling_strategy="SPREAD")
        handle = spread.remote(loading)
        return RayWorker(handle, handle.load.remote())

    def give(self, member: RayWorker, job: Job) -> None:
        """See `Engine.give`."""
        member.answer = member.handle.do.remote(job)

    def wait(self, members: Sequence[RayWorker]) -> list[tuple[RayWorker, Answer]]:
        """See `Engine.wait`."""
        ready, _ = self._ray.wait([member.answer for member in members])
        return [(member, self._answer(member)) for member in members if member.answer in ready]

    def _answer(self, member: RayWorker) -> Answer:
        try:
            return self._ray.get(member.answer)
        except self._ray.exceptions.RayError as error:
            return WorkerLost(f"its worker was lost ({str(error).strip().splitlines()[0]})")

    def stop(self, member: RayWorker) -> None:
        """See `Engine.stop`."""
        self._ray.kill(member.handle)
