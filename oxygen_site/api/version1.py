"""Version 1, put together: how operations are named and described, and which refusal becomes which problem."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from pydantic import BaseModel

from billing.access import SCOPES
from oxygen_site.api import once, tags
from oxygen_site.api.answers import Renderer
from oxygen_site.api.bodies import ExactParser
from oxygen_site.api.gate import ApiKey, may
from oxygen_site.api.problems import PROBLEM, Problem, Wrong, problem
from oxygen_site.transactions import Refused

# What any operation may answer.
REFUSALS = (400, 401, 403, 404, 429)


class Version1(NinjaAPI):
    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)

    def create_response(self, request: HttpRequest, data: Any, **how: Any) -> HttpResponse:
        response = super().create_response(request, data, **how)
        return tags.tagged(request, response, data) if request.method == "GET" else response

    def get_openapi_schema(self, **where: Any) -> OpenAPISchema:
        """Describe every operation with what any of them may say no with, and the header that names the org."""
        schema = super().get_openapi_schema(**where)
        schema["components"]["schemas"] |= {each.__name__: _schema(each) for each in (Problem, Wrong)}
        scopes = dict(self._scopes())
        for operation in [operation for path in schema["paths"].values() for operation in path.values()]:
            operation["x-scopes"] = scopes[operation["operationId"]]
            takes_anything = (422,) if operation["parameters"] or "requestBody" in operation else ()
            takes_much = (413,) if "requestBody" in operation else ()
            for status in (*REFUSALS, *takes_anything, *takes_much):
                operation["responses"].setdefault(status, {"description": HTTPStatus(status).phrase})
            for status, answer in operation["responses"].items():
                if status >= 400:
                    answer["content"] = NO
            operation["parameters"].append(NAMES_THE_ORG)
            if operation.pop(once.MARK, False):
                operation["parameters"].append(TAKEN_ONCE)
                operation["responses"][409] = {"description": HTTPStatus(409).phrase, "content": NO}
        return schema

    def _scopes(self) -> Iterator[tuple[str, list[str]]]:
        """Read which scopes open each operation."""
        for router in self._get_bound_routers():
            for view in router.path_operations.values():
                for operation in view.operations:
                    rights = {gate.right for gate in operation.auth_callbacks if isinstance(gate, ApiKey)}
                    opening = [scope.value for scope, opens in SCOPES.items() if rights <= set(opens)]
                    yield self.get_openapi_operation_id(operation), opening


NO = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
TAKEN_ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "New for each new intention, the same for each time it is sent: whoever comes again gets the first"
    " answer, and nothing happens twice. Kept for 30 days.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
NAMES_THE_ORG = {
    "name": "Oxygen-Organization",
    "in": "header",
    "required": False,
    "description": "The slug of the organization. An agency's key must name one of its client organizations.",
    "schema": {"type": "string"},
}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    schema.pop("$defs", None)
    return schema


api = Version1(
    title="Oxygen Billing",
    version="1",
    description="What an organization has, what it spends, and what fills it. Every call needs an API key.",
    docs_url=None,
    urls_namespace="api",
    renderer=Renderer(),
    parser=ExactParser(),
    auth=may("read"),
)


@api.exception_handler(Refused)
def refused(request: HttpRequest, refusal: Refused) -> HttpResponse:
    wrong = [Wrong(detail=refusal.message, pointer=f"#/{refusal.field}")] if refusal.field else []
    return problem(refusal.status, refusal.code, refusal.message, iter(wrong))


@api.exception_handler(PermissionDenied)
def not_allowed(request: HttpRequest, denied: PermissionDenied) -> HttpResponse:
    return problem(403, detail=str(denied) or None)


@api.exception_handler(Http404)
def not_found(request: HttpRequest, missing: Http404) -> HttpResponse:
    return problem(404, detail=str(missing) or None)


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, invalid: ValidationError) -> HttpResponse:
    return problem(422, "invalid", "The request is not what this operation takes; see errors.", _wrongs(invalid))


@api.exception_handler(RequestDataTooBig)
def too_large(request: HttpRequest, too_big: RequestDataTooBig) -> HttpResponse:
    return problem(413)


@api.exception_handler(HttpError)
def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(error.status_code)


def _wrongs(invalid: ValidationError) -> Iterator[Wrong]:
    """Of a body, the path as a JSON pointer; the router puts the parameter's own name before it."""
    for error in invalid.errors:
        source, *path = error["loc"]
        if source == "body":
            steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path[1:]]
            yield Wrong(detail=error["msg"], pointer="#" + "".join(f"/{step}" for step in steps))
        else:
            yield Wrong(detail=error["msg"], parameter=str(path[0]))
