"""Figures for Prometheus. No label holds anything a user has chosen."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_ANSWER_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 60.0)
_FUTURE_SECONDS = (0.05, 0.2, 1.0, 5.0, 20.0, 60.0, 300.0, 1200.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: What is done with a future's tokens, by its kind.
_WORK = {"ForwardBackward": "trained", "Forward": "scored", "Sample": "sampled"}


@dataclass(frozen=True)
class Standing:
    """What a server has to do now.

    Parameters
    ----------
    futures
        Kind and state of each unfinished request.
    live_models
        Adapters in memory; ``None`` where nobody knows.
    open_requests
        Requests being answered, held polls among them.
    """

    futures: tuple[tuple[str, str], ...] = ()
    live_models: int | None = None
    open_requests: int = 0


class Metrics:
    """The figures of one application, in a registry of its own.

    Parameters
    ----------
    standing
        Asked for the present state whenever the figures are read.
    """

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Present(standing))
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "tinker_nb_http_requests",
            "Requests answered.",
            ["method", "path", "status"],
            registry=self._registry,
        )
        self._answering = Histogram(
            "tinker_nb_http_request_seconds",
            "Time to answer a request; polls are held on purpose.",
            ["method", "path"],
            buckets=_ANSWER_SECONDS,
            registry=self._registry,
        )
        self._futures = Counter(
            "tinker_nb_futures",
            "Requests to the engine that have ended.",
            ["kind", "outcome"],
            registry=self._registry,
        )
        self._doing = Histogram(
            "tinker_nb_future_seconds",
            "Time from taking a request in to its end.",
            ["kind"],
            buckets=_FUTURE_SECONDS,
            registry=self._registry,
        )
        self._tokens = Counter(
            "tinker_nb_tokens",
            "Tokens of requests that are done.",
            ["work"],
            registry=self._registry,
        )

    def observe_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answer; ``path`` is the route's template."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, path, str(status)).inc()
        self._answering.labels(method, path).observe(seconds)

    def observe_future(self, kind: str, outcome: str, seconds: float, tokens: float) -> None:
        """Count a future that has ended, and its tokens when it is done.

        Parameters
        ----------
        kind
            Its name in the protocol, such as ``ForwardBackward``.
        outcome
            ``done``; ``user`` or ``server``, whose fault it was that it is not; ``cancelled``.
        seconds
            From taking it in to its end.
        tokens
            How many went through the model; 0 where there are none.
        """
        self._futures.labels(kind, outcome).inc()
        self._doing.labels(kind).observe(seconds)
        if outcome == "done" and kind in _WORK:
            self._tokens.labels(_WORK[kind]).inc(tokens)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text form."""
        return generate_latest(self._registry)


class _Present(Collector):
    """Figures that are looked up when they are asked for."""

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self._standing = standing

    def collect(self) -> Iterable[Metric]:
        """Look them up."""
        now = self._standing()
        queue = GaugeMetricFamily(
            "tinker_nb_queue", "Unfinished requests to the engine.", labels=["kind", "state"]
        )
        for labels, count in sorted(Count(now.futures).items()):
            queue.add_metric(labels, count)
        yield queue
        yield GaugeMetricFamily(
            "tinker_nb_http_open_requests",
            "Requests being answered; those who only watch the server aside.",
            value=now.open_requests,
        )
        if now.live_models is not None:
            yield GaugeMetricFamily(
                "tinker_nb_live_models", "Adapters in memory.", value=now.live_models
            )

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: a look-up at registration would come too early."""
        return ()
