"""Figures of the server, in the form that Prometheus reads."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from lslm_lightning.serving.engine_interface import ServingEngine
from lslm_lightning.serving.protocol import Answered
from lslm_lightning.serving.visits import Visit

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
METHODS = ("GET", "HEAD", "POST", "OPTIONS")  # others are counted as "other"


class ServerMeasures:
    """Counters, gauges and histograms of one server.

    Args:
        engine: engine whose load the gauges show.
    """

    def __init__(self, engine: ServingEngine) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self.requests = Counter(
            "lslm_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "lslm_request_seconds",
            "Seconds from the arrival of a request to the end of its response.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.first_seconds = Histogram(
            "lslm_first_token_seconds",
            "Seconds from the arrival of a request to the first part of a streamed answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.prompt_tokens = _tokens("prompt", "Tokens of prompts and sources.", registry)
        self.cached_tokens = _tokens("cached_prompt", "Those in the prompt cache.", registry)
        self.tokens = _tokens("generated", "Tokens of answers.", registry)
        self.traces = Counter(
            "lslm_traces", "Traces of requests by outcome.", ("outcome",), registry=registry
        )
        self.under_way = Gauge(
            "lslm_requests_under_way", "Requests that are being answered.", registry=registry
        )
        for name, about, figure in (
            ("running_texts", "Texts in the engine's batch.", lambda: engine.load.n_running),
            ("waiting_texts", "Texts that wait for room.", lambda: engine.load.n_waiting),
            ("batch_rows", "Rows of the last batch.", lambda: engine.load.n_row),
            ("engine_restarts", "Restarts of the engine.", lambda: engine.n_restart),
            ("engine_ready", "1 if the models are ready, else 0.", lambda: int(engine.is_ready)),
        ):
            Gauge(f"lslm_{name}", about, registry=registry).set_function(figure)

    def add_visit(self, visit: Visit, seconds: float) -> None:
        """Add a request that has ended.

        Args:
            seconds: time from its arrival to the end of the response.
        """
        method = visit.method if visit.method in METHODS else "other"
        self.requests.labels(visit.route, method, str(visit.status)).inc()
        self.seconds.labels(visit.route).observe(seconds)
        if visit.first_seconds is not None:
            self.first_seconds.labels(visit.route).observe(visit.first_seconds)

    def add_answer(self, model: str, answered: Answered) -> None:
        """Add the tokens of an answer."""
        self.prompt_tokens.labels(model).inc(answered.n_prompt_token)
        self.cached_tokens.labels(model).inc(answered.n_cached_token)
        self.tokens.labels(model).inc(answered.n_token)

    def add_traces(self, outcome: str, n: int) -> None:
        """Add traces of requests that were written or lost."""
        self.traces.labels(outcome).inc(n)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)


def _tokens(kind: str, about: str, registry: CollectorRegistry) -> Counter:
    """Return a counter of tokens by model."""
    return Counter(f"lslm_{kind}_tokens", about, ("model",), registry=registry)
