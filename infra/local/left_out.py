"""What AWS leaves out of its answers, and MiniStack gives as an empty text or as more than AWS's models have."""

import json
import re
from typing import Any

import hooks
from hooks import AnyAnswer, Dispatch, Headers, Query

# Of CloudFormation's XML: what is empty, and a member that is only asked with.
CLOUDFORMATION = re.compile(rb"<(Description)></\1>|<Description/>|<ChangeSetType>[^<]*</ChangeSetType>")
# Of Lambda's JSON, where they are empty.
LAMBDA = {"LastUpdateStatusReason", "LastUpdateStatusReasonCode", "RuntimeVersionArn", "StateReason", "StateReasonCode"}


def install() -> None:
    from ministack import app

    hooks.need(app, "detect_service", "_routing_params")
    parameters = ["method", "path", "headers", "body", "query_params", "request_id"]
    hooks.patch(app, "_dispatch_service_request", parameters, leaving_out)


def leaving_out(original: Dispatch) -> Dispatch:
    from ministack import app

    async def dispatch(
        method: str, path: str, headers: Headers, body: bytes, query_params: Query, request_id: str
    ) -> AnyAnswer:
        status, answered, answer = await original(method, path, headers, body, query_params, request_id)
        routing = app._routing_params(method, path, headers, body, query_params)
        service = app.detect_service(method, path, headers, routing)
        if service == "cloudformation" and isinstance(answer, bytes):
            answer = CLOUDFORMATION.sub(b"", answer)
        # What a function answered is its own.
        elif service == "lambda" and not path.endswith("/invocations") and answer[:1] == b"{":
            answer = json.dumps(without(json.loads(answer))).encode()
        return status, answered, answer

    return dispatch


def without(value: Any) -> Any:
    if isinstance(value, list):
        return [without(it) for it in value]
    if isinstance(value, dict):
        return {name: without(it) for name, it in value.items() if it != "" or name not in LAMBDA}
    return value
