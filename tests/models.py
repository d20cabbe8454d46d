#!/usr/bin/env python3
"""Hold requests and answers on the wire to AWS's own service models, which botocore carries.

Reads one exchange a line from standard input, a JSON object with `method`, `uri`, `headers`, `body`, `whole` (false
when the body is left out) and, to hold the answer as well, `status`, `answer_headers` and `answer`. Writes one line for
each: `operation`, as in `s3.GetObject`, and `faults`, a list of sentences. The line `"operations"` is answered with the
names of all operations of the services.

Runs in the virtual environment of the local AWS: infra/local/requirements.txt pins the models.
"""

import base64
import functools
import gzip
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

import botocore
import regex

DATA = Path(botocore.__file__).parent / "data"

# What the guardrail calls: the folders of the models, which but for S3 Control are the first label of the host, too.
SERVICES = (
    "budgets", "cloudformation", "cloudtrail", "dynamodb", "events", "iam", "kms", "lambda", "logs", "s3", "s3control",
    "sns", "sqs", "ssm", "sts",
)  # fmt: skip

# Faults that are none: what they say, as a pattern, and why it is right all the same.
EXCEPTIONS = {
    r"dynamodb\.BatchGetItem answer\.UnprocessedKeys: the length 0 .*": "when no key is left, it is an empty map",
    r".*InventedIn\d+.*": "the tests' word for what AWS will add after these models: the owner's settings keep it",
    r"events\.ListTargetsByRule answer\.Targets: the length 0 .*": "a rule without targets has an empty list",
}

# What every service may answer: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
COMMON_ERRORS = {
    "AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "InternalError",
    "InternalFailure", "OptInRequired", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException",
    "UnrecognizedClientException", "ValidationError", "ValidationException",
}  # fmt: skip

# Headers of signing, tracing and checksums, which belong to no operation.
COMMON_HEADERS = ("x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "x-amz-target", "x-amz-user-agent")
COMMON_HEADER_PREFIXES = ("x-amz-checksum-", "x-amzn-trace-id", "x-amzn-query-mode")

XSI = "{http://www.w3.org/2001/XMLSchema-instance}"


class Unknown(Exception):
    """The request is none that the models know."""


class Model:
    """The model of one service."""

    def __init__(self, service: str) -> None:
        newest = max((DATA / service).glob("*/service-2.json.gz"))
        model = json.loads(gzip.decompress(newest.read_bytes()))
        self.service = service
        self.metadata, self.operations, self.shapes = model["metadata"], model["operations"], model["shapes"]
        self.protocol = self.metadata["protocol"]

    def shape(self, reference: dict | None) -> dict:
        return self.shapes[reference["shape"]] if reference else {"type": "structure", "members": {}}

    def operation(self, name: str) -> dict:
        if name not in self.operations:
            raise Unknown(
                f"{self.service} has no operation {name!r} in the pinned botocore {botocore.__version__}: is it "
                "misspelt, or newer than infra/local/requirements.txt?"
            )
        return self.operations[name]


@functools.cache
def model(service: str) -> Model:
    return Model(service)


class Faults(list):
    """What is wrong, in sentences that begin with where."""

    def add(self, where: str, what: str) -> None:
        fault = f"{where}: {what}"
        if not any(regex.fullmatch(known, fault) for known in EXCEPTIONS):
            self.append(fault)


# --- Values -----------------------------------------------------------------------------------------------------------


@functools.cache
def compiled(pattern: str) -> regex.Pattern:
    # The models are written for Java, whose patterns are of UTF-16.
    return regex.compile(pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF"))


def number_is(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "blob": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "long": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": number_is,
    "double": number_is,
    "timestamp": lambda value: number_is(value) or isinstance(value, str),
    "list": lambda value: isinstance(value, list),
    "map": lambda value: isinstance(value, dict),
    "structure": lambda value: isinstance(value, dict),
}


def check(service: Model, reference: dict, value: Any, where: str, faults: Faults) -> None:
    """Hold a value to its shape: type, members, what is required, length, range, pattern and enumeration."""
    shape = service.shape(reference)
    kind = shape["type"]
    if not TYPES[kind](value):
        faults.add(where, f"the model wants a {kind}, not {value!r:.80}")
        return
    size = value if number_is(value) else len(value) if isinstance(value, (str, list, dict)) else None
    if kind in ("string", "blob", "list", "map", "integer", "long", "float", "double"):
        what = "value" if number_is(value) else "length"
        if "min" in shape and size < shape["min"]:
            faults.add(where, f"the {what} {size} is below the model's least, {shape['min']}")
        if "max" in shape and size > shape["max"]:
            faults.add(where, f"the {what} {size} is above the model's most, {shape['max']}")
    if kind == "string":
        if "enum" in shape and value not in shape["enum"]:
            faults.add(where, f"{value!r:.80} is none of the model's {', '.join(shape['enum'])}")
        if "pattern" in shape and not compiled(shape["pattern"]).fullmatch(value):
            faults.add(where, f"{value!r:.80} does not match the model's pattern {shape['pattern']}")
    elif kind == "list":
        for number, item in enumerate(value):
            check(service, shape["member"], item, f"{where}[{number}]", faults)
    elif kind == "map":
        for key, item in value.items():
            check(service, shape["key"], key, f"{where} key", faults)
            check(service, shape["value"], item, f"{where}[{key!r:.80}]", faults)
    elif kind == "structure":
        members = {name: item for name, item in value.items() if item is not None}
        for name in members.keys() - shape["members"].keys():
            faults.add(f"{where}.{name}", "the model has no such member")
        for name in shape.get("required", []):
            if name not in members:
                faults.add(f"{where}.{name}", "the model requires it, and it is missing")
        if shape.get("union") and len(members) != 1:
            faults.add(where, f"the model wants one member of {', '.join(shape['members'])}, not {len(members)}")
        for name in members.keys() & shape["members"].keys():
            check(service, shape["members"][name], members[name], f"{where}.{name}", faults)


def from_text(kind: str, text: str) -> Any:
    """A value that travels as text; the text itself when it is none of that kind, which `check` then tells."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    try:
        return {"integer": int, "long": int, "float": float, "double": float}.get(kind, str)(text)
    except ValueError:
        return text


def from_xml(service: Model, reference: dict, element: ElementTree.Element) -> Any:
    shape = service.shape(reference)
    if shape["type"] == "list":
        return [from_xml(service, shape["member"], item) for item in element]
    if shape["type"] == "map":
        return {entry[0].text: from_xml(service, shape["value"], entry[1]) for entry in element}
    if shape["type"] != "structure":
        return from_text(shape["type"], element.text or "")
    value: dict[str, Any] = {}
    names = {member.get("locationName", name): name for name, member in shape["members"].items()}
    for attribute, text in element.attrib.items():
        attribute = attribute.replace(XSI, "xsi:")
        value[names.get(attribute, attribute)] = text
    for child in element:
        tag = child.tag.rpartition("}")[2]
        name = names.get(tag, f"<{tag}>")
        if name not in shape["members"]:
            value[name] = child.text or ""
            continue
        member = shape["members"][name]
        if "flattened" in member or service.shape(member).get("flattened"):
            value.setdefault(name, []).append(from_xml(service, service.shape(member)["member"], child))
        elif name in value:
            value[f"second <{tag}>"] = child.text or ""
        else:
            value[name] = from_xml(service, member, child)
    return value


def from_form(service: Model, reference: dict, form: dict[str, str], prefix: str, used: set[str]) -> Any:
    """A value of the query protocol, whose names are paths: `Attributes.entry.1.key`."""
    shape = service.shape(reference)

    def numbered(path: str) -> Iterator[str]:
        number = 1
        while any(name == f"{path}.{number}" or name.startswith(f"{path}.{number}.") for name in form):
            yield f"{path}.{number}"
            number += 1

    if shape["type"] == "structure":
        value = {}
        for name, member in shape["members"].items():
            path = prefix + member.get("locationName", name)
            if any(it == path or it.startswith(f"{path}.") for it in form):
                dot = "." if service.shape(member)["type"] == "structure" else ""
                value[name] = from_form(service, member, form, path + dot, used)
        return value
    if shape["type"] == "list":
        path = prefix if shape.get("flattened") else f"{prefix}.{shape['member'].get('locationName', 'member')}"
        dot = "." if service.shape(shape["member"])["type"] == "structure" else ""
        return [from_form(service, shape["member"], form, item + dot, used) for item in numbered(path)]
    if shape["type"] == "map":
        key, inner = shape["key"].get("locationName", "key"), shape["value"].get("locationName", "value")
        dot = "." if service.shape(shape["value"])["type"] == "structure" else ""
        value = {}
        for entry in numbered(prefix if shape.get("flattened") else f"{prefix}.entry"):
            used.add(f"{entry}.{key}")
            name = form.get(f"{entry}.{key}", "")
            value[name] = from_form(service, shape["value"], form, f"{entry}.{inner}{dot}", used)
        return value
    used.add(prefix)
    return from_text(shape["type"], form[prefix])


# --- Requests ---------------------------------------------------------------------------------------------------------


class Request:
    """A request as it travels."""

    def __init__(self, exchange: dict) -> None:
        url = urlsplit(exchange["uri"])
        self.method, self.host, self.path = exchange["method"], url.netloc, url.path or "/"
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.headers = {name.lower(): value for name, value in exchange["headers"].items()}
        self.body: str = exchange["body"]
        self.whole: bool = exchange["whole"]
        labels = self.host.split(".")
        if "s3-control" in labels:
            self.service = model("s3control")
        elif "s3" in labels:
            self.service = model("s3")
            # Buckets are named by the host, or by the path.
            bucket, _, _ = self.host.rpartition(".s3." if ".s3." in self.host else "s3.")
            self.path = (
                f"/{bucket}{self.path.removesuffix('/') if self.path == '/' else self.path}" if bucket else self.path
            )
        elif labels[0] in SERVICES:
            self.service = model(labels[0])
        else:
            raise Unknown(f"{self.host} is no service of those in tests/models.py")


def template(uri: str) -> tuple[regex.Pattern, dict[str, str]]:
    """A `requestUri` of the models: its path, with named labels, and the query that tells it from others."""
    path, _, query = uri.partition("?")
    labels = regex.sub(
        r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", regex.sub(r"\\\{(\w+)\\\+\\\}", r"(?P<\1>.+)", regex.escape(path))
    )
    return regex.compile(labels), dict(parse_qsl(query, keep_blank_values=True))


@functools.cache
def templates(service: Model) -> list[tuple[str, dict, regex.Pattern, dict[str, str]]]:
    return [(name, it, *template(it["http"]["requestUri"])) for name, it in service.operations.items()]


def rest_operation(request: Request) -> tuple[str, dict[str, str]]:
    """The operation that a method, a path, a query and headers name, with the labels of its path."""
    service = request.service
    found = []
    for name, operation, path, query in templates(service):
        labels = path.fullmatch(request.path)
        if operation["http"]["method"] != request.method or not labels:
            continue
        if any(request.query.get(key) != value for key, value in query.items()):
            continue
        shape = service.shape(operation.get("input"))
        needed = [shape["members"][it] for it in shape.get("required", [])]
        asked = [it["locationName"] for it in needed if it.get("location") == "querystring"]
        headed = [it["locationName"] for it in needed if it.get("location") == "header"]
        if all(it in request.query for it in asked) and all(it.lower() in request.headers for it in headed):
            # The SDKs send the name itself where nothing else tells operations apart.
            found.append(
                (request.query.get("x-id") == name, len(query) + len(asked) + len(headed), name, labels.groupdict())
            )
    if not found:
        raise Unknown(
            f"{request.method} {request.path} with {sorted(request.query)} is no operation of {service.service} in the "
            f"pinned botocore {botocore.__version__}, or lacks a parameter that the operation requires"
        )
    _, _, name, labels = max(found, key=lambda it: it[:3])
    return name, labels


def parse_body(service: Model, reference: dict, body: str, where: str, faults: Faults) -> Any:
    """A document, in JSON or XML."""
    if service.protocol in ("json", "rest-json"):
        try:
            return json.loads(body or "{}")
        except ValueError as error:
            faults.add(where, f"the body is no JSON ({error})")
            return {}
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        faults.add(where, f"the body is no XML ({error})")
        return {}
    tag, wanted = root.tag.rpartition("}")[2], reference.get("locationName", reference["shape"])
    if tag != wanted:
        faults.add(where, f"the model's root is <{wanted}>, not <{tag}>")
    return from_xml(service, reference, root)


def from_rest(service: Model, shape: dict, headers: dict, query: dict, labels: dict, body: str, where: str,
              faults: Faults) -> dict:  # fmt: skip
    """The members of a request or an answer that are spread over path, query, headers and body."""
    members = shape["members"]
    value: dict[str, Any] = {}
    in_body = {name: it for name, it in members.items() if "location" not in it}
    for name, member in members.items():
        kind, wire = service.shape(member)["type"], member.get("locationName", name)
        source = {"uri": labels, "querystring": query, "header": headers}.get(member.get("location"))
        if member.get("location") == "headers":
            prefixed = {
                key.removeprefix(wire.lower()): it for key, it in headers.items() if key.startswith(wire.lower())
            }
            if prefixed:
                value[name] = prefixed
        elif source is not None:
            text = source.get(wire.lower() if source is headers else wire)
            if text is not None and kind == "list":
                value[name] = [it.strip() for it in text.split(",")]
            elif text is not None:
                value[name] = from_text(kind, unquote(text) if source is labels else text)
    if payload := shape.get("payload"):
        raw = service.shape(members[payload])["type"] in ("blob", "string")
        if body and raw:
            value[payload] = body
        elif body:
            value[payload] = parse_body(service, members[payload], body, where, faults)
    elif in_body and body:
        reference = {"shape": "body"}
        if service.protocol == "rest-json":
            value |= parse_body(service, reference, body, where, faults)
        else:
            value |= from_body_xml(service, shape, body, where, faults)
    return value


def from_body_xml(service: Model, shape: dict, body: str, where: str, faults: Faults) -> dict:
    """The members that are no payload's, below a root whose name the models do not say."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        faults.add(where, f"the body is no XML ({error})")
        return {}
    service.shapes["(body)"] = shape
    return from_xml(service, {"shape": "(body)"}, root)


def check_request(request: Request, faults: Faults) -> str:
    """Hold a request to its operation's input; the operation's name."""
    service, protocol = request.service, request.service.protocol
    labels: dict[str, str] = {}
    form = dict(parse_qsl(request.body, keep_blank_values=True)) if protocol == "query" else {}
    if protocol == "json":
        prefix, _, name = request.headers.get("x-amz-target", "").rpartition(".")
        # The SDKs made of Smithy models leave the namespace out, and AWS takes both.
        target = service.metadata["targetPrefix"]
        wanted = {"x-amz-target": (prefix, prefix if prefix == target else target.rpartition(".")[2])}
        wanted["content-type"] = (
            request.headers.get("content-type"),
            f"application/x-amz-json-{service.metadata['jsonVersion']}",
        )
    elif protocol == "query":
        name = form.get("Action", "")
        wanted = {"Version": (form.get("Version"), service.metadata["apiVersion"])}
    else:
        name, labels = rest_operation(request)
        wanted = {}
    operation, where = service.operation(name), f"{service.service}.{name}"
    for what, (found, should) in wanted.items():
        if found != should:
            faults.add(f"{where} {what}", f"{found!r} should be {should!r}")
    reference = operation.get("input")
    shape = service.shape(reference)
    if protocol == "json":
        value = parse_body(service, {"shape": "body"}, request.body, where, faults)
    elif protocol == "query":
        used = {"Action", "Version"}
        value = from_form(service, reference, form, "", used) if reference else {}
        for extra in form.keys() - used:
            faults.add(f"{where} {extra}", "the model has no such parameter")
    else:
        value = from_rest(service, shape, request.headers, request.query, labels, request.body, where, faults)
        check_names(operation, shape, request, where, faults)
    if reference:
        check(service, reference, value, where, faults)
    check_checksum(operation, request, where, faults)
    return where


def check_names(operation: dict, shape: dict, request: Request, where: str, faults: Faults) -> None:
    """Query parameters and headers that are no member's."""
    members = shape["members"].values()
    known = {it["locationName"] for it in members if it.get("location") == "querystring"}
    literal = template(operation["http"]["requestUri"])[1]
    for name in request.query.keys() - known - literal.keys() - {"x-id"}:
        faults.add(f"{where} ?{name}", "the model has no such parameter")
    headers = {it["locationName"].lower() for it in members if it.get("location") == "header"}
    prefixes = tuple(it["locationName"].lower() for it in members if it.get("location") == "headers")
    for name in request.headers:
        if not name.startswith("x-amz") or name in headers or name in COMMON_HEADERS:
            continue
        if not name.startswith(prefixes + COMMON_HEADER_PREFIXES):
            faults.add(f"{where} {name}", "the model has no such header")


def check_checksum(operation: dict, request: Request, where: str, faults: Faults) -> None:
    body = request.body.encode()
    sums: dict[str, Callable[[], bytes]] = {
        "content-md5": lambda: hashlib.md5(body).digest(),
        "x-amz-checksum-crc32": lambda: zlib.crc32(body).to_bytes(4, "big"),
        "x-amz-checksum-sha256": lambda: hashlib.sha256(body).digest(),
    }
    for name, of in sums.items():
        if request.whole and name in request.headers and request.headers[name] != base64.b64encode(of()).decode():
            faults.add(f"{where} {name}", "it is not the checksum of the body")
    required = operation.get("httpChecksumRequired") or operation.get("httpChecksum", {}).get("requestChecksumRequired")
    if required and not any(it == "content-md5" or it.startswith("x-amz-checksum-") for it in request.headers):
        faults.add(where, "the model requires a checksum of the body, and there is none")


# --- Answers ----------------------------------------------------------------------------------------------------------


def check_answer(request: Request, operation: str, exchange: dict, faults: Faults) -> None:
    """Hold an answer to its operation's output, or to the errors that the operation has."""
    service, protocol = request.service, request.service.protocol
    modelled = service.operations[operation.partition(".")[2]]
    body, where = exchange["answer"], f"{operation} answer"
    headers = {name.lower(): value for name, value in exchange["answer_headers"].items()}
    if exchange["status"] >= 300:
        check_error(service, modelled, body, where, faults)
        return
    reference = modelled.get("output")
    if reference is None:
        return
    shape = service.shape(reference)
    if protocol == "json":
        value = parse_body(service, {"shape": "body"}, body, where, faults)
    elif protocol == "query":
        wrapper = reference.get("resultWrapper")
        result = ElementTree.fromstring(body).find(f"{{*}}{wrapper}")
        if result is None:
            faults.add(where, f"there is no <{wrapper}>")
            return
        value = from_xml(service, reference, result)
    else:
        value = from_rest(service, shape, headers, {}, {}, body, where, faults)
        statuses = [name for name, it in shape["members"].items() if it.get("location") == "statusCode"]
        value |= dict.fromkeys(statuses, exchange["status"])
    check(service, reference, value, where, faults)


def check_error(service: Model, operation: dict, body: str, where: str, faults: Faults) -> None:
    # S3's errors are in no model; HEAD has no body.
    if service.protocol == "rest-xml" or not body:
        return
    if service.protocol == "query":
        code = ElementTree.fromstring(body).findtext(".//{*}Code") or ""
    else:
        code = json.loads(body).get("__type", "").rpartition("#")[2]
    known = {it["shape"] for it in operation.get("errors", [])}
    known |= {service.shapes[it].get("error", {}).get("code", it) for it in known}
    if code not in known | COMMON_ERRORS:
        faults.add(where, f"{code!r} is none of the operation's errors: {', '.join(sorted(known))}")


# --- The command ------------------------------------------------------------------------------------------------------


def hold(exchange: dict) -> dict:
    faults = Faults()
    try:
        request = Request(exchange)
        operation = check_request(request, faults)
    except Unknown as unknown:
        return {"operation": None, "faults": [str(unknown)]}
    if exchange.get("answer") is not None:
        check_answer(request, operation, exchange, faults)
    return {"operation": operation, "faults": faults}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if asked == "operations":
            answer: Any = [f"{service}.{name}" for service in SERVICES for name in model(service).operations]
        else:
            answer = hold(asked)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
