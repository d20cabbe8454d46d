"""Requests and their answers as they were on the wire, one JSON object a line, for tests/models.py to hold to AWS's models."""

import json
import re
from pathlib import Path
from typing import Any

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

MOST = 2 * 1024 * 1024
SERVICE = re.compile(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4_request")


def recorded(app: ASGIFramework, path: Path) -> ASGIFramework:
    """The same app; each signed request to it is added to the file, with its answer."""
    file = path.open("a", encoding="utf-8")

    async def recording(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        signed = SERVICE.search(headers.get("authorization", ""))
        if not signed:
            return await app(scope, receive, send)
        request, answer = bytearray(), bytearray()
        begun: dict[str, Any] = {}

        async def listening() -> ASGIReceiveEvent:
            message = await receive()
            if message["type"] == "http.request":
                request.extend(message.get("body", b""))
            return message

        async def telling(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.start":
                begun.update(message)
            elif message["type"] == "http.response.body":
                answer.extend(message["body"])
            await send(message)

        await app(scope, listening, telling)
        region, service = signed.groups()
        # Signed for S3, and another service all the same.
        host = "s3-control" if scope["path"].startswith("/v20180820/") else service
        # A function's code has megabytes, of which the models say nothing.
        if len(request) > MOST:
            return
        # Buckets are named by the path, which ends in a slash where nothing of them is.
        path = scope["raw_path"].decode()
        path = path.removesuffix("/") if service == "s3" and path.count("/") == 2 else path
        exchange = {
            "method": scope["method"],
            "uri": f"https://{host}.{region}.amazonaws.com{path}?{scope['query_string'].decode()}",
            "headers": headers,
            "body": request.decode(errors="replace"),
            "whole": True,
            "status": begun["status"],
            "answer_headers": {name.decode(): value.decode("latin-1") for name, value in begun["headers"]},
            "answer": answer.decode(errors="replace"),
        }
        file.write(json.dumps(exchange) + "\n")
        file.flush()

    return recording
