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

import hooks
from ministack import app
from ministack.core import iam_evaluator, responses
from ministack.services import cloudtrail, eventbridge

log = logging.getLogger("cloudtrail-events")

# S3's sub-resources, by the query parameter that names them. CloudTrail's names, which are not the API's.
S3_SUBRESOURCES = {
    "acl": "BucketAcl",
    "cors": "BucketCors",
    "encryption": "BucketEncryption",
    "inventory": "BucketInventoryConfiguration",
    "lifecycle": "BucketLifecycle",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "BucketReplication",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
JSON_SERVICES = ("cloudtrail", "events", "kms", "ssm")
READS = ("Get", "List", "Describe", "Lookup", "Generate", "Encrypt", "Decrypt", "ReEncrypt", "PutEvents", "Test")
# Their denied calls are recorded without parameters.
NULL_WHEN_DENIED = ("cloudtrail", "events", "kms")


def install() -> None:
    hooks.need(app, "detect_service", "_ct_request_params")
    hooks.need(cloudtrail, "_get_event_queue", "_account_trail_items")
    hooks.need(eventbridge, "_put_events")
    hooks.need(iam_evaluator, "caller_arn")
    parameters = ["method", "path", "headers", "body", "query_params", "request_id"]
    hooks.patch(app, "_dispatch_service_request", parameters, with_events)


def with_events(original):
    async def dispatch(method, path, headers, body, query_params, request_id):
        answer = await original(method, path, headers, body, query_params, request_id)
        try:
            record = record_of(method, path, headers, body, query_params, request_id, answer)
            if record:
                remember(record)
                if trail_logs():
                    # After the answer: the call must not wait for whoever listens.
                    asyncio.get_running_loop().call_soon(publish, record)
        except Exception:
            log.exception("no event for %s %s", method, path)
        return answer

    return dispatch


def record_of(method, path, headers, body, query_params, request_id, answer) -> dict | None:
    """The record of a call, or None when it is not a management write."""
    service = app.detect_service(method, path, headers, query_params)
    if service == "s3":
        named = s3_call(method, path, headers, body, query_params)
    elif service in JSON_SERVICES:
        named = json_call(headers, body, query_params)
    else:
        named = None
    if not named:
        return None
    name, parameters = named
    account = responses.get_account_id()
    record = {
        "eventVersion": "1.11",
        "userIdentity": identity(account),
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": responses.get_region(),
        "sourceIPAddress": "127.0.0.1",
        "userAgent": headers.get("user-agent", ""),
        "requestParameters": parameters,
        "responseElements": None,
        "requestID": request_id,
        "eventID": str(uuid.uuid4()),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
    bucket = (parameters or {}).get("bucketName")
    if bucket and name != "CreateBucket":
        record["resources"] = [{"accountId": account, "type": "AWS::S3::Bucket", "ARN": f"arn:aws:s3:::{bucket}"}]
    if answer[0] >= 400:
        record["errorCode"] = error_code(answer)
        if service in NULL_WHEN_DENIED and record["errorCode"].startswith("AccessDenied"):
            record["requestParameters"] = None
    return record


def s3_call(method, path, headers, body, query_params):
    bucket, _, key = path.lstrip("/").partition("/")
    if not bucket or key or method not in ("PUT", "DELETE"):
        return None
    parameters = {"bucketName": bucket, "Host": headers.get("host", "")}
    subresource = next((it for it in S3_SUBRESOURCES if it in query_params), None)
    if subresource is None:
        # A sub-resource that is not listed here is not an event of ours; `x-id` is no sub-resource.
        if set(query_params) - {"x-id"}:
            return None
        return ("CreateBucket" if method == "PUT" else "DeleteBucket"), parameters
    parameters[subresource] = ""
    if subresource == "policy" and method == "PUT":
        try:
            parameters["bucketPolicy"] = json.loads(body)
        except ValueError:
            parameters["bucketPolicy"] = ""
    return ("Put" if method == "PUT" else "Delete") + S3_SUBRESOURCES[subresource], parameters


def json_call(headers, body, query_params):
    name = headers.get("x-amz-target", "").rsplit(".", 1)[-1].removesuffix("_20131101")
    if not name or name.startswith(READS):
        return None
    return name, app._ct_request_params(headers, body, query_params)


def identity(account: str) -> dict:
    arn = iam_evaluator.caller_arn()
    name = arn.rsplit("/", 1)[-1]
    common = {"arn": arn, "accountId": account, "principalId": name}
    if arn.endswith(":root"):
        return {"type": "Root", **common}
    if ":assumed-role/" not in arn:
        return {"type": "IAMUser", "userName": name, **common}
    role = arn.split("/")[1]
    issuer = {"type": "Role", "arn": f"arn:aws:iam::{account}:role/{role}", "accountId": account, "userName": role}
    return {"type": "AssumedRole", "sessionContext": {"sessionIssuer": issuer}, **common}


def error_code(answer) -> str:
    text = bytes(answer[2]).decode("utf-8", "replace")
    found = re.search(r"<Code>([^<]+)</Code>", text) or re.search(r'"__type"\s*:\s*"(?:[^"]*#)?([^"]+)"', text)
    return found.group(1) if found else str(answer[0])


def remember(record: dict) -> None:
    bucket = (record["requestParameters"] or {}).get("bucketName")
    cloudtrail._get_event_queue().append(
        {
            "EventId": record["eventID"],
            "EventName": record["eventName"],
            "EventSource": record["eventSource"],
            "EventTime": time.time(),
            "Username": record["userIdentity"]["principalId"],
            "AccessKeyId": "",
            "ReadOnly": "false",
            "Resources": [{"ResourceName": bucket, "ResourceType": "AWS::S3::Bucket"}] if bucket else [],
            "CloudTrailEvent": json.dumps(record),
        }
    )


def trail_logs() -> bool:
    """Whether a trail of the caller's account logs: without one EventBridge is blind, as on AWS."""
    return any(trail.get("IsLogging") for _, _, trail in cloudtrail._account_trail_items())


def publish(record: dict) -> None:
    source = record["eventSource"].removesuffix(".amazonaws.com")
    entry = {
        "Source": f"aws.{source}",
        "DetailType": "AWS API Call via CloudTrail",
        "Detail": json.dumps(record),
    }
    try:
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    except Exception:
        log.exception("event %s was not delivered", record["eventName"])
