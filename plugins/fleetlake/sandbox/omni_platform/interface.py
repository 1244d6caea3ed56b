"""The two services over HTTP: token, GraphQL, errors inside an HTTP 200."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from graphql import (
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    execute_sync,
    parse,
    specified_rules,
    validate,
)
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from fleetlake.sandbox.layer import faults_of
from fleetlake.sandbox.omni_platform import schemas
from fleetlake.sandbox.omni_platform.event_queries import EventQueries
from fleetlake.sandbox.omni_platform.happenings import Happenings
from fleetlake.sandbox.omni_platform.listing import Item
from fleetlake.sandbox.omni_platform.platform_queries import PlatformQueries
from fleetlake.sandbox.omni_platform.premises import Customer, Premises

_DENIED = "Access denied"
Root = Callable[[Customer], Item]


class Interface:
    """Both services of one sandbox."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self._assumptions = happenings.premises.assumptions
        self._answers: Counter[tuple[Any, ...]] = Counter()
        rules = [*specified_rules]
        if not self._assumptions.introspection:
            rules.append(NoSchemaIntrospectionCustomRule)
        self._rules = rules

    def app(self) -> Starlette:
        """The routes."""
        events = self._service(
            schemas.event_service(self._assumptions),
            lambda customer: EventQueries(self._happenings, customer, self._answers).root(),
        )
        platform = self._service(schemas.platform(), lambda customer: PlatformQueries(self._happenings, customer).root())
        return Starlette(
            routes=[
                Route("/event-service/graphql", events, methods=["POST"]),
                Route("/api/v2/", platform, methods=["POST"]),
            ]
        )

    def _service(self, schema: GraphQLSchema, root: Root) -> Callable[[Request], Any]:
        async def serve(request: Request) -> Response:
            customer = customer_of(self._happenings.premises, request.scope)
            if customer is None:
                status = 200 if self._assumptions.refusal == "graphql" else int(self._assumptions.refusal)
                return _errors([GraphQLError(_DENIED)], status)
            try:
                wanted = json.loads(await request.body())
                query, variables = wanted["query"], wanted.get("variables") or {}
            except (ValueError, KeyError, TypeError, AttributeError):
                return _errors([GraphQLError("Must provide query string.")], 400)
            return self._answer(schema, root(customer), query, variables)

        return serve

    def _answer(self, schema: GraphQLSchema, root: Item, query: str, variables: dict[str, Any]) -> Response:
        try:
            document = parse(query)
        except GraphQLError as error:
            return _errors([error], self._assumptions.validation_status)
        wrong = validate(schema, document, self._rules)
        if wrong:
            return _errors(wrong, self._assumptions.validation_status)
        for name in filter(None, self._assumptions.denied.split(",")):
            if name in root:
                root[name] = _deny
        result = execute_sync(schema, document, root, variable_values=variables)
        # Where not even one variable fitted, nothing was executed.
        return JSONResponse(result.formatted)


def customer_of(premises: Premises, scope: Scope) -> Customer | None:
    """Who asks, by the ``Token`` header; nobody while the fault ``expired`` is played."""
    if "expired" in faults_of(scope):
        return None
    return premises.by_token(Headers(scope=scope).get("token"))


def _deny(_info: Any, **_arguments: Any) -> None:
    raise GraphQLError(_DENIED)


def _errors(errors: list[GraphQLError], status: int) -> Response:
    return JSONResponse({"errors": [error.formatted for error in errors], "data": None}, status_code=status)
