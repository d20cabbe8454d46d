"""CloudTrail records of management writes, on EventBridge's default bus and in LookupEvents.

AWS sends them for every call, with caller, bucket and error code, while some trail of the account logs
management events. MiniStack sends none. Sending one must never change the answer to the call that it tells of.
"""

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import cloudtrail_trails
import hooks
import unsettled
from hooks import AnyAnswer, Dispatch, Headers, Json, Query
from ministack import app
from ministack.core import iam_actions, iam_evaluator, responses, router
from ministack.services import cloudtrail, eventbridge, iam, kms

log = logging.getLogger("cloudtrail-events")

Done = TypeVar("Done")

# CloudTrail's names of S3's settings, which are not the API's, by the query parameter that names the setting.
S3_SETTINGS = {
    "accelerate": "AccelerateConfiguration",
    "acl": "BucketAcl",
    "analytics": "BucketAnalyticsConfiguration",
    "cors": "BucketCors",
    "encryption": "BucketEncryption",
    "intelligent-tiering": "BucketIntelligentTieringConfiguration",
    "inventory": "BucketInventoryConfiguration",
    "lifecycle": "BucketLifecycle",
    "logging": "BucketLogging",
    "metrics": "BucketMetricsConfiguration",
    "notification": "BucketNotification",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "BucketReplication",
    "requestPayment": "BucketRequestPayment",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
# Lambda's records carry the version of the API in their names, most of them.
LAMBDA_VERSIONS = {
    "AddPermission": "20150331v2",
    "CreateAlias": "20150331",
    "CreateEventSourceMapping": "20150331",
    "CreateFunction": "20150331",
    "DeleteAlias": "20150331",
    "DeleteEventSourceMapping": "20150331",
    "DeleteFunction": "20150331",
    "DeleteFunctionConcurrency": "20171031",
    "PublishVersion": "20150331",
    "PutFunctionConcurrency": "20171031",
    "RemovePermission": "20150331v2",
    "TagResource": "20170331v2",
    "UntagResource": "20170331v2",
    "UpdateAlias": "20150331",
    "UpdateEventSourceMapping": "20150331",
    "UpdateFunctionCode": "20150331v2",
    "UpdateFunctionConfiguration": "20150331v2",
}
SERVICES = {"cloudtrail", "dynamodb", "events", "iam", "kms", "lambda", "s3", "sns", "sqs", "ssm"}
# Calls that write nothing, and calls that are data events.
NOT_RECORDED = (
    "Batch",
    "Decrypt",
    "ChangeMessageVisibility",
    "DeleteItem",
    "DeleteMessage",
    "Describe",
    "Encrypt",
    "Execute",
    "Generate",
    "Get",
    "Invoke",
    "List",
    "Lookup",
    "Publish",
    "PutEvents",
    "PutItem",
    "Query",
    "ReEncrypt",
    "ReceiveMessage",
    "Scan",
    "SendMessage",
    "Sign",
    "Simulate",
    "Test",
    "Transact",
    "UpdateItem",
    "Verify",
)
RECORDED_ALL_THE_SAME = {"PublishVersion"}
# Their denied calls are recorded without parameters.
NULL_WHEN_DENIED = {"cloudtrail", "events", "iam", "kms", "lambda", "sns"}
# Nobody's calls: the caller could not be told.
UNAUTHENTICATED = {
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "MissingAuthenticationToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
# IAM is global: its events are in this region alone.
GLOBAL_REGION = "us-east-1"


def install(require_trail: bool) -> None:
    hooks.need(app, "detect_service", "_routing_params")
    hooks.need(cloudtrail, "_get_event_queue")
    hooks.need(eventbridge, "_put_events")
    hooks.need(iam, "_users", "_roles")
    hooks.need(iam_actions, "extract_iam_action")
    hooks.need(iam_evaluator, "caller_arn")
    hooks.need(kms, "_resolve_key")
    hooks.need(responses, "request_scope")
    hooks.need(router, "extract_access_key_id")

    def reaches_eventbridge(call: "Call") -> bool:
        return not require_trail or cloudtrail_trails.logs_writes(call.source, call.region)

    def with_events(original: Dispatch) -> Dispatch:
        async def dispatch(
            method: str, path: str, headers: Headers, body: bytes, query_params: Query, request_id: str
        ) -> AnyAnswer:
            call = attempt(lambda: call_of(method, path, headers, body, query_params, request_id))
            if call is None:
                return await original(method, path, headers, body, query_params, request_id)
            # The call that stops the last trail is still told of.
            before = attempt(lambda: reaches_eventbridge(call))
            answer = await original(method, path, headers, body, query_params, request_id)
            record = attempt(lambda: record_of(call, answer))
            if record:
                attempt(lambda: remember(record))
                if before or attempt(lambda: reaches_eventbridge(call)):
                    # After the answer: the call must not wait for whoever listens.
                    for delay in unsettled.deliveries(record["eventName"]):
                        asyncio.get_running_loop().call_later(delay, attempt, lambda: publish(record))
            return answer

        return dispatch

    parameters = ["method", "path", "headers", "body", "query_params", "request_id"]
    hooks.patch(app, "_dispatch_service_request", parameters, with_events)


def attempt(what: Callable[[], Done]) -> Done | None:
    """Do something that the caller must never notice, whatever becomes of it."""
    try:
        return what()
    except Exception:
        log.exception("no CloudTrail record")
        return None


@dataclass(frozen=True)
class Call:
    """A management write, as it came."""

    service: str
    name: str
    parameters: Json
    resources: list[Json]
    region: str
    headers: Headers
    access_key_id: str
    request_id: str

    @property
    def source(self) -> str:
        return f"{self.service}.amazonaws.com"


def call_of(method: str, path: str, headers: Headers, body: bytes, query_params: Query, request_id: str) -> Call | None:
    """The call, or None when it is not a management write of the services that matter here."""
    routing = app._routing_params(method, path, headers, body, query_params)
    service = app.detect_service(method, path, headers, routing)
    if service not in SERVICES:
        return None
    if service == "s3":
        named = s3_call(method, path, headers, body, query_params)
    else:
        named = other_call(service, method, path, headers, body, routing)
    if named is None:
        return None
    name, parameters = named
    return Call(
        service=service,
        name=name,
        parameters=parameters,
        resources=resources_of(service, name, parameters),
        region=GLOBAL_REGION if service == "iam" else responses.get_region(),
        headers=headers,
        access_key_id=router.extract_access_key_id(headers, query_params) or "",
        request_id=request_id,
    )


def s3_call(method: str, path: str, headers: Headers, body: bytes, query_params: Query) -> tuple[str, Json] | None:
    bucket, _, key = path.lstrip("/").partition("/")
    if not bucket or key or method not in ("PUT", "DELETE"):
        return None
    parameters: Json = {"bucketName": bucket, "Host": headers.get("host", "")}
    setting = next((it for it in S3_SETTINGS if it in query_params), None)
    if setting is None:
        # A setting that is not listed above is not an event of ours; `x-id` is no setting.
        if set(query_params) - {"x-id"}:
            return None
        return ("CreateBucket" if method == "PUT" else "DeleteBucket"), parameters
    parameters[setting] = ""
    if setting == "policy" and method == "PUT":
        parameters["bucketPolicy"] = json_or(body, "")
    return ("Put" if method == "PUT" else "Delete") + S3_SETTINGS[setting], parameters


def other_call(
    service: str, method: str, path: str, headers: Headers, body: bytes, routing: Query
) -> tuple[str, Json] | None:
    action = iam_actions.extract_iam_action(service, method, path, headers, body, routing)
    # MiniStack has no names for these.
    if action is None and "/event-source-mappings/" in path:
        action = {"PUT": "lambda:UpdateEventSourceMapping", "DELETE": "lambda:DeleteEventSourceMapping"}.get(method)
    if action is None:
        return None
    name = action.split(":", 1)[1]
    if name.startswith(NOT_RECORDED) and name not in RECORDED_ALL_THE_SAME:
        return None
    if service == "lambda":
        return name + LAMBDA_VERSIONS.get(name, ""), lambda_parameters(path, body)
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = parse_qsl(body.decode("utf-8", "replace"))
        # `Attributes.entry.1.key` and its like are left out.
        given = {key: value for key, value in form if key not in ("Action", "Version") and "." not in key}
    else:
        given = json_or(body, {})
    parameters = decapitalized(given)
    if service == "ssm" and "value" in parameters:
        parameters["value"] = "HIDDEN_DUE_TO_SECURITY_REASONS"
    return name, parameters


def lambda_parameters(path: str, body: bytes) -> Json:
    """AWS leaves out code and environment."""
    parameters = decapitalized(json_or(body, {}))
    for secret in ("code", "environment", "zipFile"):
        parameters.pop(secret, None)
    named = re.search(r"/functions/([^/]+)", path)
    return {"functionName": named.group(1), **parameters} if named else parameters


def json_or(body: bytes, default: Any) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return default


def decapitalized(value: Any) -> Any:
    """CloudTrail writes `TrailName` as `trailName`."""
    if isinstance(value, list):
        return [decapitalized(it) for it in value]
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: decapitalized(it) for key, it in value.items()}
    return value


def resources_of(service: str, name: str, parameters: Json) -> list[Json]:
    """What the call is about, before it is done: a deleted alias no longer tells its key."""
    account = responses.get_account_id()
    if service == "s3" and name != "CreateBucket":
        arn = f"arn:aws:s3:::{parameters['bucketName']}"
        return [{"accountId": account, "type": "AWS::S3::Bucket", "ARN": arn}]
    if service != "kms":
        return []
    alias = parameters.get("aliasName")
    found = []
    if alias:
        arn = f"arn:aws:kms:{responses.get_region()}:{account}:{alias}"
        found.append({"accountId": account, "type": "AWS::KMS::Alias", "ARN": arn})
    for name_of_key in {parameters.get("keyId"), parameters.get("targetKeyId"), alias} - {None}:
        key = kms._resolve_key(name_of_key)
        if key:
            found.append({"accountId": account, "type": "AWS::KMS::Key", "ARN": key["Arn"]})
    return found


def answered(call: Call, answer: AnyAnswer) -> Any:
    """Which function an event source mapping belongs to, only the answer says; of the others it is left out here."""
    body = answer[2].encode() if isinstance(answer[2], str) else answer[2]
    told = "EventSourceMapping" in call.name or call.service == "dynamodb"
    return decapitalized(json_or(body, None)) if told else None


def record_of(call: Call, answer: AnyAnswer) -> Json | None:
    account = responses.get_account_id()
    failed = answer[0] >= 400
    code, message = error_of(answer) if failed else ("", "")
    if code in UNAUTHENTICATED:
        return None
    agent = call.headers.get("user-agent", "")
    record = {
        "eventVersion": "1.11",
        "userIdentity": {**identity(account), "accessKeyId": call.access_key_id},
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "eventSource": call.source,
        "eventName": call.name,
        "awsRegion": call.region,
        "sourceIPAddress": responses.get_request_client_ip() or "127.0.0.1",
        # S3's records have it in brackets.
        "userAgent": f"[{agent}]" if call.service == "s3" else agent,
        "requestParameters": call.parameters,
        "responseElements": answered(call, answer) if not failed else None,
        "requestID": call.request_id,
        "eventID": str(uuid.uuid4()),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
    if call.resources and code != "NoSuchBucket":
        record["resources"] = call.resources
    if failed:
        record["errorCode"], record["errorMessage"] = code, message
        if code == "AccessDenied" and call.service in NULL_WHEN_DENIED:
            record["requestParameters"] = None
    return record


def identity(account: str) -> Json:
    arn = iam_evaluator.caller_arn()
    if arn.endswith(":root"):
        return {"type": "Root", "principalId": account, "arn": arn, "accountId": account}
    name = arn.rsplit("/", 1)[-1]
    if ":assumed-role/" not in arn:
        user = iam._users.get_scoped(account, None, name) or {}
        common = {"principalId": user.get("UserId", name), "arn": arn, "accountId": account}
        return {"type": "IAMUser", **common, "userName": name}
    role_name = arn.split("/")[1]
    role = iam._roles.get_scoped(account, None, role_name) or {}
    role_id = role.get("RoleId", role_name)
    role_arn = role.get("Arn", f"arn:aws:iam::{account}:role/{role_name}")
    issuer = {"type": "Role", "principalId": role_id, "arn": role_arn, "accountId": account, "userName": role_name}
    return {
        "type": "AssumedRole",
        "principalId": f"{role_id}:{name}",
        "arn": arn,
        "accountId": account,
        "sessionContext": {"sessionIssuer": issuer, "attributes": {"mfaAuthenticated": "false"}},
    }


def error_of(answer: AnyAnswer) -> tuple[str, str]:
    """Code and message of a failed call, from XML or JSON."""
    text = answer[2] if isinstance(answer[2], str) else bytes(answer[2]).decode("utf-8", "replace")
    code = re.search(r"<Code>([^<]+)</Code>", text) or re.search(r'"__type"\s*:\s*"(?:[^"]*#)?([^"]+)"', text)
    message = re.search(r"<Message>([^<]*)</Message>", text) or re.search(r'"[mM]essage"\s*:\s*"([^"]*)"', text)
    header = {key.lower(): value for key, value in answer[1].items()}.get("x-amzn-errortype", "")
    found = code.group(1) if code else header.split(":")[0] or str(answer[0])
    # CloudTrail has one word for it; the services' own are AccessDenied, AccessDeniedException, AuthorizationError.
    if found.startswith("AccessDenied") or found == "AuthorizationError":
        found = "AccessDenied"
    return found, message.group(1) if message else ""


def remember(record: Json) -> None:
    """Keep it for LookupEvents, which shows management events with or without a trail."""
    bucket = (record["requestParameters"] or {}).get("bucketName")
    caller = record["userIdentity"]
    with responses.request_scope(record["recipientAccountId"], record["awsRegion"]):
        cloudtrail._get_event_queue().append(
            {
                "EventId": record["eventID"],
                "EventName": record["eventName"],
                "EventSource": record["eventSource"],
                "EventTime": time.time(),
                "Username": caller.get("userName") or caller["arn"].rsplit("/", 1)[-1],
                "AccessKeyId": caller["accessKeyId"],
                "ReadOnly": "false",
                "Resources": [{"ResourceName": bucket, "ResourceType": "AWS::S3::Bucket"}] if bucket else [],
                "CloudTrailEvent": json.dumps(record),
            }
        )


def publish(record: Json) -> None:
    entry = {
        "Source": f"aws.{record['eventSource'].removesuffix('.amazonaws.com')}",
        "DetailType": "AWS API Call via CloudTrail",
        "Detail": json.dumps(record),
    }
    with responses.request_scope(record["recipientAccountId"], record["awsRegion"]):
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
