"""An unsettled world: events late, twice, out of order or never, calls refused and answers lost, writes seen late.

Off unless it is given a seed, by `--unsettled` or by `PUT /_local-aws/unsettled?seed=…`. The administrator is exempt:
what it calls is answered, and shown, as it is.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from hooks import AnyAnswer, Dispatch, Headers, Query
from hypercorn.typing import HTTPScope

PATH = "/_local-aws/unsettled"
# The settings of a bucket of which a read may answer what was there before.
SHOWN_LATE_SECONDS = 2.0
EVENT_LATE_SECONDS = 4.0
READS = ("Get", "List", "Describe", "Lookup", "Head")
# Services whose errors are told in JSON, and what they say when there were too many calls.
JSON_THROTTLING = {"cloudtrail", "kms", "ssm"}

# What a read is of: account, bucket, setting, and the id where there are many.
Setting = tuple[str, str, str, str]


@dataclass(frozen=True)
class Decision:
    """What happens to a call, and to the event that tells of it."""

    # None, "conflict", "unavailable" or "lost": done, but the answer is an internal error.
    answer: str | None
    # How long other reads show what was there before a write.
    shown_after: float
    # After how many seconds the event is delivered, each time; never when empty.
    deliveries: tuple[float, ...]


SETTLED = Decision(answer=None, shown_after=0.0, deliveries=(0.0,))


def decide(seed: int | None, operation: str, count: int) -> Decision:
    """The same for the same seed, operation and number of its call, whatever else is called meanwhile."""
    if seed is None:
        return SETTLED

    def chance(of_what: str) -> float:
        digest = hashlib.sha256(f"{seed}/{operation}/{count}/{of_what}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    drawn = chance("answer")
    answers = ((0.03, "conflict"), (0.08, "unavailable"), (0.12, "lost"))
    answer = next((name for limit, name in answers if drawn < limit), None)
    shown_after = chance("late") * SHOWN_LATE_SECONDS if chance("shown") < 0.3 else 0.0
    times = 0 if (drawn := chance("deliveries")) < 0.1 else 2 if drawn < 0.3 else 1
    deliveries = tuple(chance(f"delivery {it}") * EVENT_LATE_SECONDS for it in range(times))
    return Decision(answer, shown_after, deliveries)


class World:
    """The seed, and how often each operation was called since it was set."""

    def __init__(self) -> None:
        self.settle(None)

    def settle(self, seed: int | None) -> None:
        self.seed = seed
        self.counts: Counter[str] = Counter()
        # By what is read: the last true answer, and until when it is still shown.
        self.seen: dict[Setting, AnyAnswer] = {}
        self.shown_until: dict[Setting, float] = {}

    def next(self, operation: str) -> Decision:
        self.counts[operation] += 1
        return decide(self.seed, operation, self.counts[operation])


WORLD = World()


def deliveries(event_name: str) -> tuple[float, ...]:
    """After how many seconds an event of this name is delivered, each time."""
    return WORLD.next(f"event {event_name}").deliveries


def install(seed: int | None) -> None:
    import cloudtrail_events
    import hooks
    from ministack import app
    from ministack.core import iam_actions, responses, router

    hooks.need(app, "detect_service", "_routing_params")
    hooks.need(iam_actions, "extract_iam_action")
    hooks.need(router, "extract_access_key_id")
    WORLD.settle(seed)

    def unsettled(original: Dispatch) -> Dispatch:
        async def dispatch(
            method: str, path: str, headers: Headers, body: bytes, query_params: Query, request_id: str
        ) -> AnyAnswer:
            async def done() -> AnyAnswer:
                return await original(method, path, headers, body, query_params, request_id)

            caller = router.extract_access_key_id(headers, query_params) or ""
            if WORLD.seed is None:
                return await done()
            routing = app._routing_params(method, path, headers, body, query_params)
            service = app.detect_service(method, path, headers, routing)
            bucket, _, key = path.lstrip("/").partition("/")
            of_bucket = service == "s3" and bucket and not key
            setting = next((it for it in cloudtrail_events.S3_SETTINGS if of_bucket and it in query_params), None)
            if setting:
                # Inventory and its like are many, each with an id.
                named = json.dumps(query_params.get("id"))
                what = (responses.get_account_id(), bucket, setting, named)
                operation, reads = f"s3 {method} {setting}", method in ("GET", "HEAD")
            elif service in JSON_THROTTLING:
                action = iam_actions.extract_iam_action(service, method, path, headers, body, routing) or ""
                what, operation, reads = None, action, action.partition(":")[2].startswith(READS)
            else:
                return await done()
            exempt = len(caller) == 12 and caller.isdigit()
            decision = SETTLED if exempt else WORLD.next(operation)
            if decision.answer == "unavailable" or (decision.answer == "conflict" and setting and not reads):
                return refusal(service, decision.answer)
            answer = await done()
            if what:
                lag = WORLD.next(f"shown {operation}").shown_after if exempt and not reads else decision.shown_after
                answer = answer if exempt and reads else shown(what, answer, reads, lag)
            return refusal(service, "lost") if decision.answer == "lost" and answer[0] < 400 and not reads else answer

        return dispatch

    parameters = ["method", "path", "headers", "body", "query_params", "request_id"]
    # Around the records of CloudTrail: a call whose answer is lost was done, and is told of as done.
    hooks.patch(app, "_dispatch_service_request", parameters, unsettled)


def shown(what: Setting, answer: AnyAnswer, reads: bool, lag: float) -> AnyAnswer:
    """The answer to a call about a setting: while a write is not shown yet, a read answers what was read before it."""
    now = time.monotonic()
    late = now < WORLD.shown_until.get(what, 0.0)
    if not reads:
        if answer[0] < 400 and not late:
            if lag and what in WORLD.seen:
                WORLD.shown_until[what] = now + lag
            else:
                WORLD.seen.pop(what, None)
        return answer
    # A refusal is the caller's own, and is never shown late.
    if answer[0] not in (200, 404):
        return answer
    if late:
        return WORLD.seen[what]
    WORLD.seen[what] = answer
    return answer


def refusal(service: str, why: str) -> AnyAnswer:
    if service in JSON_THROTTLING:
        status, code = (500, "InternalFailure") if why == "lost" else (400, "ThrottlingException")
        body = json.dumps({"__type": code, "message": "The local AWS is unsettled."})
        return status, {"Content-Type": "application/x-amz-json-1.1"}, body.encode()
    status, code = {
        "conflict": (409, "OperationAborted"),
        "unavailable": (503, "SlowDown"),
        "lost": (500, "InternalError"),
    }[why]
    body = f"<Error><Code>{code}</Code><Message>The local AWS is unsettled.</Message></Error>"
    return status, {"Content-Type": "application/xml"}, body.encode()


async def switch(scope: HTTPScope, send: Callable[[Any], Awaitable[None]]) -> None:
    """Answers `PUT /_local-aws/unsettled`: `?seed=` of nothing settles the world again."""
    text = parse_qs(scope["query_string"].decode()).get("seed", [""])[0]
    good = scope["method"] == "PUT" and (text == "" or text.isdecimal())
    if good:
        WORLD.settle(int(text) if text else None)
    await send({"type": "http.response.start", "status": 204 if good else 400, "headers": []})
    await send({"type": "http.response.body", "body": b""})
