"""The served OpenAPI document, whole: what FastAPI reads off the routes, and what it cannot see.

Bodies are read by hand (api/body.py) and errors are problem documents (api/problems.py): both are put in
here as named schemas, so that a client generated from /openapi.json knows every answer. Invariant: a query
parameter that is not in the document, or is there twice, is refused, so that none is silently without effect.
"""

from collections import Counter
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api.problems import ProblemDocument, invalid

_REFERENCE = "#/components/schemas/{model}"


def described(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra=` of a route that reads its body by hand."""
    schema = model.model_json_schema(ref_template=_REFERENCE)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def install(app: FastAPI) -> None:
    """Serve the whole document at /openapi.json."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _whole(
                get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


async def known_parameters(request: Request) -> None:
    """A dependency of every route: refuses query parameters that it does not document, and repeated ones."""
    if not request.query_params:
        return
    operation = request.app.openapi()["paths"][request.scope["route"].path_format][request.method.lower()]
    known = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
    asked = Counter(name for name, _ in request.query_params.multi_items())
    wrong = {name: "is not a parameter of this route" for name in asked if name not in known}
    wrong |= {name: "is there more than once" for name, times in asked.items() if times > 1 and name in known}
    if wrong:
        raise invalid([{"loc": ("query", name), "msg": message} for name, message in wrong.items()])


def _whole(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the schemas of bodies and problems under their names."""
    named = document.setdefault("components", {}).setdefault("schemas", {})
    named |= _lifted(ProblemDocument.model_json_schema(ref_template=_REFERENCE))
    for path in document["paths"].values():
        for operation in path.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                named |= _lifted(content["schema"])
                content["schema"] = {"$ref": _REFERENCE.format(model=content["schema"]["title"])}
    return document


def _lifted(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema and those it refers to, by name."""
    own = {key: value for key, value in schema.items() if key != "$defs"}
    return {own["title"]: own, **schema.get("$defs", {})}
