"""What S3 does and MiniStack's S3 does not. Runs behind its handler, so after signature and IAM were checked."""

import json
import re
from xml.etree import ElementTree

import hooks
from ministack import app
from ministack.core import iam_evaluator, responses
from ministack.services import s3

XML = '<?xml version="1.0" encoding="UTF-8"?>'
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
MAX_POLICY_BYTES = 20 * 1024

# Inventory configurations as they were put: (account, bucket) -> id -> XML.
inventories: dict[tuple[str, str], dict[str, str]] = {}


def install() -> None:
    hooks.need(iam_evaluator, "validate_policy_document")
    hooks.need(s3, "_buckets")
    original = app.SERVICE_HANDLERS["s3"]

    async def handler(method, path, headers, body, query_params):
        bucket, _, key = path.lstrip("/").partition("/")
        if bucket:
            refusal = owner_refusal(headers)
            if not key and not refusal and method == "PUT" and "policy" in query_params:
                refusal = policy_refusal(bucket, body)
            if refusal:
                return refusal
        if bucket and not key and "inventory" in query_params:
            return inventory(method, bucket, body, query_params)
        answer = await original(method, path, headers, body, query_params)
        if bucket and not key and not query_params and method == "DELETE" and answer[0] < 300:
            inventories.pop((responses.get_account_id(), bucket), None)
        return answer

    app.SERVICE_HANDLERS["s3"] = handler


def error(status: int, code: str, message: str):
    body = f"{XML}<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, {"Content-Type": "application/xml"}, body.encode()


def owner_refusal(headers):
    """AWS refuses a call whose x-amz-expected-bucket-owner is not the owner; MiniStack ignores the header."""
    owner = headers.get("x-amz-expected-bucket-owner")
    if owner is None or owner == responses.get_account_id():
        return None
    if not re.fullmatch(r"\d{12}", owner):
        return error(400, "InvalidBucketOwnerAWSAccountID", "The value of the expected bucket owner parameter must be an AWS Account ID")
    return error(403, "AccessDenied", "Access Denied")


def policy_refusal(bucket: str, body: bytes):
    """AWS refuses a policy it cannot make sense of; MiniStack stores it."""
    if len(body) > MAX_POLICY_BYTES:
        return error(400, "PolicyTooLarge", "The bucket policy exceeds the allowed maximum document size")
    problem = iam_evaluator.validate_policy_document(body.decode("utf-8", "replace"))
    if problem:
        return error(400, "MalformedPolicy", problem)
    statements = listed(json.loads(body).get("Statement", []))
    for statement in statements:
        if "Principal" not in statement and "NotPrincipal" not in statement:
            return error(400, "MalformedPolicy", "Missing required field Principal")
        resources = listed(statement.get("Resource", [])) + listed(statement.get("NotResource", []))
        if not all(names_bucket(resource, bucket) for resource in resources):
            return error(400, "MalformedPolicy", "Policy has invalid resource")
        # A deleted user or role reads back as its unique id, and cannot be written again.
        if any(re.fullmatch(r"(AIDA|AROA)[A-Z0-9]+", name) for name in principals(statement)):
            return error(400, "MalformedPolicy", "Invalid principal in policy")
    return None


def names_bucket(resource: str, bucket: str) -> bool:
    return resource == f"arn:aws:s3:::{bucket}" or resource.startswith(f"arn:aws:s3:::{bucket}/")


def principals(statement: dict) -> list[str]:
    found = []
    for element in ("Principal", "NotPrincipal"):
        value = statement.get(element, {})
        if isinstance(value, dict):
            found += [name for names in value.values() for name in listed(names)]
    return found


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def inventory(method: str, bucket: str, body: bytes, query_params):
    """S3's inventory API. MiniStack takes its PUT for CreateBucket, and its DELETE for DeleteBucket."""
    account = responses.get_account_id()
    if not s3._buckets.contains_scoped(account, None, bucket):
        return error(404, "NoSuchBucket", "The specified bucket does not exist")
    known = inventories.setdefault((account, bucket), {})
    name = (query_params.get("id") or [""])[0]
    absent = error(404, "NoSuchConfiguration", "The specified configuration does not exist.")
    if method == "PUT":
        refusal = inventory_refusal(name, body)
        if refusal:
            return refusal
        known[name] = re.sub(r"^\s*<\?xml[^>]*\?>", "", body.decode())
        return 204, {}, b""
    if method == "DELETE":
        return (204, {}, b"") if known.pop(name, None) else absent
    if name and name not in known:
        return absent
    if name:
        document = known[name]
    else:
        document = (
            f"<ListInventoryConfigurationsResult {NAMESPACE}>{''.join(known.values())}"
            "<IsTruncated>false</IsTruncated></ListInventoryConfigurationsResult>"
        )
    return 200, {"Content-Type": "application/xml"}, (XML + document).encode()


def inventory_refusal(name: str, body: bytes):
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return error(400, "MalformedXML", "The XML you provided was not well-formed")
    if root.findtext("{*}Id") != name:
        return error(400, "IdMismatch", "Document ID does not match the specified configuration ID.")
    bucket = root.findtext("{*}Destination/{*}S3BucketDestination/{*}Bucket")
    if bucket is None or root.find("{*}Schedule/{*}Frequency") is None:
        return error(400, "MalformedXML", "The XML you provided did not validate against our published schema")
    if not bucket.startswith("arn:"):
        return error(400, "InvalidS3DestinationBucket", "Invalid bucket ARN.")
    return None
