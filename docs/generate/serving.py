"""Fields of the requests to `lslm serve`, from the classes that read them."""

from docs.generate.language import localized
from docs.generate.markdown import code, plain, table
from lslm_lightning.serving import fields as search
from lslm_lightning.serving import openai_requests, task_requests
from lslm_lightning.serving.fields import RequestFields
from lslm_lightning.types import JsonObject

TYPES = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
}


def request_class(name: str) -> type[RequestFields]:
    """Return the class of a request.

    Raises:
        ValueError: there is no such class.
    """
    for module in (search, openai_requests, task_requests):
        found = getattr(module, name, None)
        if isinstance(found, type) and issubclass(found, RequestFields):
            return found
    raise ValueError(f"no class of a request is called {name}: a page names it; was it renamed?")


def fields(name: str) -> str:
    """Return a table of the fields of a request, without those of the class that it derives from
    and those that are ignored.
    """
    kind = request_class(name)
    schema = kind.model_json_schema()["properties"]
    inherited = {each for base in kind.__mro__[1:] for each in getattr(base, "model_fields", {})}
    rows = []
    for each, field in kind.model_fields.items():
        if each in inherited or field.description == openai_requests.IGNORED:
            continue
        kinds = f" {localized('or')} ".join(map(localized, types_of(schema[each])))
        rows.append((code(each), plain(kinds), plain(localized(field.description or ""))))
    return table(("field", "type", "meaning"), rows)


def types_of(schema: JsonObject) -> list[str]:
    """Return the types of a value, by the words of the page."""
    if "enum" in schema or "const" in schema:
        return [f"`{each}`" for each in schema.get("enum", [schema.get("const")])]
    if "anyOf" in schema:
        found = [kind for each in schema["anyOf"] for kind in types_of(each)]
        return list(dict.fromkeys(found))
    if "$ref" in schema:
        return ["object"]
    if schema.get("type") == "array":
        return ["list"]
    return [TYPES[schema["type"]]] if schema.get("type") in TYPES else []


def refused(*names: str) -> str:
    """Return a table of the fields that requests accept and ignore, and of those that they
    refuse.

    Args:
        names: a route and the class of its request, in turn.
    """
    rows = []
    for route, name in zip(names[::2], names[1::2], strict=True):
        kind = request_class(name)
        ignored = [
            each
            for each, field in kind.model_fields.items()
            if field.description == openai_requests.IGNORED
        ]
        rows.append((code(route), listed(ignored), listed(kind.refused)))
    return table(("route", "accepted and ignored", "refused, unless neutral"), rows)


def listed(names: object) -> str:
    """Return names as code, with commas between them."""
    assert isinstance(names, list | dict)
    return ", ".join(map(code, names))
