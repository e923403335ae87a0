"""ASGI application of `lslm serve`: all routes behind the gateway."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from lslm_lightning import __version__
from lslm_lightning.serving.documents import MEANINGS, STATE, ErrorBody, described
from lslm_lightning.serving.engine_interface import ServingEngine
from lslm_lightning.serving.errors import (
    answer_failure,
    answer_gone,
    answer_http_exception,
    answer_serving_error,
    answer_validation_error,
    json_response,
    unavailable,
)
from lslm_lightning.serving.gateway import OPEN, Gateway
from lslm_lightning.serving.keys import ApiKeys
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.measures import CONTENT_TYPE, ServerMeasures
from lslm_lightning.serving.openai_routes import openai_routes
from lslm_lightning.serving.page import ErrorPage, add_page
from lslm_lightning.serving.protocol import ServingError
from lslm_lightning.serving.service import AnswerService
from lslm_lightning.serving.task_routes import task_routes
from lslm_lightning.serving.tracer import RequestTracer
from lslm_lightning.serving.traces import TraceSettings
from lslm_lightning.serving.translation_routes import translation_routes
from lslm_lightning.serving.visits import AccessLog
from lslm_lightning.types import JsonObject

ABOUT = """Trained models behind HTTP: OpenAI's API under `/v1`, LibreTranslate's API, and routes
for summaries, answers and log probabilities."""
HANDLERS = (
    (HTTPException, answer_http_exception),
    (ServingError, answer_serving_error),
    (RequestValidationError, answer_validation_error),
    (ConnectionError, answer_gone),
    (Exception, answer_failure),
)
EXPOSED = ("X-Request-Id", "Retry-After", "X-Should-Retry")


class ServingApp(FastAPI):
    """Routes whose OpenAPI document has the statuses that they really return."""

    def openapi(self) -> JsonObject:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            document: JsonObject = super().openapi()
            for methods in document["paths"].values():
                for operation in methods.values():
                    operation["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                document["components"]["schemas"].pop(name, None)
            document["components"]["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer"}
            }
            document["security"] = [{}, {"key": []}]
            self.openapi_schema = document
        return self.openapi_schema


def documented_paths(router: APIRouter) -> set[str]:
    """Return the paths that the OpenAPI document has of a router."""
    return {
        route.path_format
        for route in router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
    }


class ServedApp:
    """Application of a server, and its gateway.

    Args:
        engine: engine with the models.
        limits: limits of requests.
        keys: keys of clients; empty if none is needed.
        log: log of requests.
        allowed_origins: origins of web pages that may use the server from browsers.
        traces: which requests are traced; by default none.

    Attributes:
        service: service that the routes share.
        tracer: sample of the requests that are traced.
        gateway: gateway before the routes.
        asgi: the ASGI application.
    """

    def __init__(
        self,
        engine: ServingEngine,
        limits: ServingLimits | None = None,
        keys: ApiKeys | None = None,
        log: AccessLog | None = None,
        allowed_origins: Sequence[str] = (),
        traces: TraceSettings | None = None,
    ) -> None:
        limits = limits or ServingLimits()
        keys = keys or ApiKeys()
        measures = ServerMeasures(engine)
        self.service = AnswerService(engine, limits, measures, keys)
        routers = (
            openai_routes(self.service),
            translation_routes(self.service),
            task_routes(self.service),
            self._state_routes(),
        )
        self.routes, error_page = self._routes(routers)
        paths = frozenset(path for router in routers for path in documented_paths(router)) | OPEN
        log = log or AccessLog()

        def home() -> str:
            return engine.models[0].directory if engine.models else ""

        self.tracer = RequestTracer(traces or TraceSettings(), measures.add_traces, home)
        self.gateway = Gateway(
            self.routes, self.service.n_waiting, limits, keys, log, measures, self.tracer, paths
        )
        self.gateway.error_page = error_page
        self.asgi = (
            CORSMiddleware(
                self.gateway,
                allow_origins=allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
                expose_headers=EXPOSED,
            )
            if allowed_origins
            else self.gateway
        )

    def _routes(self, routers: Sequence[APIRouter]) -> tuple[ServingApp, ErrorPage]:
        """Return the application of all routes (those of `routers`, the page and the document), and
        the function that shows an error on the page.
        """
        app = ServingApp(
            title="lslm serve",
            version=__version__,
            description=ABOUT,
            docs_url=None,
            redoc_url=None,
        )
        for kind, handler in HANDLERS:
            app.add_exception_handler(kind, handler)
        for router in routers:
            app.include_router(router)
        error_page = add_page(app, self.service)

        @app.get("/spec", include_in_schema=False)
        async def specification() -> Response:
            """Return the OpenAPI document where LibreTranslate's clients look for it."""
            return json_response(app.openapi())

        return app, error_page

    def _state_routes(self) -> APIRouter:
        """Return the routes that tell the state of the server."""
        routes = APIRouter(tags=["State"])
        service = self.service

        @routes.head("/health", include_in_schema=False)
        @routes.get("/health", summary="Whether the server lives", responses=described(STATE, 500))
        async def health() -> Response:
            """Answer as long as the process lives."""
            return json_response({"status": "ok"})

        @routes.head("/ready", include_in_schema=False)
        @routes.get(
            "/ready",
            summary="Whether the models are ready",
            responses=described(STATE, 500, 503),
        )
        async def ready() -> Response:
            """Answer 200 if the models are ready and the server takes requests, else 503."""
            if self.gateway.is_ending:
                raise unavailable("the server ends; ask again when it is back")
            service.models()
            return json_response({"status": "ready"})

        @routes.get(
            "/metrics",
            summary="Figures for Prometheus",
            responses={
                200: {"description": "The figures.", "content": {"text/plain": {}}},
                401: {"description": MEANINGS[401], "model": ErrorBody},
            },
            response_class=Response,
        )
        async def metrics(_: Request) -> Response:
            """Return counters, gauges and histograms."""
            return Response(service.measures.text(), media_type=CONTENT_TYPE)

        return routes
