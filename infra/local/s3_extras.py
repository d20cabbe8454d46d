"""What S3 does and MiniStack's S3 does not. Runs in its handler, so after signature and IAM were checked."""

import re
from collections.abc import Callable
from html import escape
from xml.etree import ElementTree

import hooks
import s3_lifecycle
import s3_policies
from hooks import Answer, Handler, Headers, Query
from ministack import app
from ministack.core import iam_evaluator, responses
from ministack.services import iam, s3

XML = '<?xml version="1.0" encoding="UTF-8"?>'
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
OWNER = "x-amz-expected-bucket-owner"
ENCRYPTION = "x-amz-server-side-encryption"
KEY_ID = "x-amz-server-side-encryption-aws-kms-key-id"
BUCKET_KEY = "x-amz-server-side-encryption-bucket-key-enabled"
MINIMUM_SIZE = "x-amz-transition-default-minimum-object-size"
DEFAULT_MINIMUM_SIZE = "all_storage_classes_128K"
# Sub-resources that MiniStack does not know. It would take their PUT for CreateBucket, their DELETE for DeleteBucket.
UNKNOWN = {
    "abac",
    "analytics",
    "intelligent-tiering",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
}

# By (account, bucket): inventory configurations as they were put, id -> XML; the minimum size put with the lifecycle.
inventories: dict[tuple[str, str], dict[str, str]] = {}
minimum_sizes: dict[tuple[str, str], str] = {}


# What makes a list of buckets one of pages.
PAGED = {"bucket-region", "continuation-token", "max-buckets", "prefix"}
MANY_BUCKETS = 10_000


def install(bucket_quota: int) -> None:
    hooks.need(iam, "_users", "_roles")
    hooks.need(iam_evaluator, "validate_policy_document")
    hooks.need(s3, "_bucket_encryption", "_bucket_owner_account")
    parameters = ["method", "path", "headers", "body", "query_params"]
    hooks.patch(app.SERVICE_HANDLERS, "s3", parameters, with_extras)
    if bucket_quota > MANY_BUCKETS:
        hooks.patch(app.SERVICE_HANDLERS, "s3", ["method", "path", "headers", "body", "query_params"], in_pages_only)
    hooks.patch(s3, "_get_bucket_lifecycle", ["name"], with_v1_prefixes_shown)
    hooks.patch(s3, "_put_bucket_lifecycle", ["name", "body"], with_v1_prefixes_kept)


def with_extras(original: Handler) -> Handler:
    async def handler(method: str, path: str, headers: Headers, body: bytes, query_params: Query) -> Answer:
        bucket, _, key = path.lstrip("/").partition("/")
        if not bucket:
            return await original(method, path, headers, body, query_params)
        refused = owner_refusal(bucket, headers)
        if refused:
            return refused
        if key and method == "PUT" and "encryption" in query_params:
            return error(501, "NotImplemented", "The local AWS does not change the encryption of stored objects.")
        if key:
            answer = await original(method, path, with_aws_key(headers), body, query_params)
            return with_bucket_key(bucket, answer)
        if UNKNOWN & set(query_params):
            return error(501, "NotImplemented", "The local AWS does not have this setting.")
        if "inventory" in query_params:
            return inventory(method, bucket, body, query_params)
        if method == "PUT" and "policy" in query_params and is_there(bucket):
            problem = s3_policies.refusal(bucket, body)
            if problem:
                return error(400, *problem)
            body = s3_policies.kept(body)
        if method == "PUT" and "lifecycle" in query_params and is_there(bucket):
            problem = s3_lifecycle.refusal(body)
            if problem:
                return error(400, *problem)
        answer = await original(method, path, headers, body, query_params)
        if answer[0] < 300:
            answer = after(method, bucket, headers, query_params, answer)
        return answer

    return handler


def in_pages_only(original: Handler) -> Handler:
    """AWS lists buckets in pages only, for an account that may have more than 10,000; MiniStack all at once."""

    async def handler(method: str, path: str, headers: Headers, body: bytes, query_params: Query) -> Answer:
        if method == "GET" and path == "/" and not PAGED & set(query_params):
            return error(
                400, "InvalidRequest", "This account may have too many buckets for a list that is not paginated."
            )
        return await original(method, path, headers, body, query_params)

    return handler


def after(method: str, bucket: str, headers: Headers, query_params: Query, answer: Answer) -> Answer:
    """Bring what is kept here up to date with a call that worked."""
    place = (responses.get_account_id(), bucket)
    if "lifecycle" in query_params:
        return minimum_size(method, place, headers, answer)
    if method == "DELETE" and not set(query_params) - {"x-id"}:
        inventories.pop(place, None)
        minimum_sizes.pop(place, None)
    return answer


def error(status: int, code: str, message: str) -> Answer:
    body = f"{XML}<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return status, {"Content-Type": "application/xml"}, body.encode()


def is_there(bucket: str) -> bool:
    return s3._bucket_owner_account(bucket) is not None


def owner_refusal(bucket: str, headers: Headers) -> Answer | None:
    """AWS refuses a call whose ExpectedBucketOwner is not the bucket's owner; MiniStack ignores the header."""
    expected = headers.get(OWNER)
    if expected is None:
        return None
    if not re.fullmatch(r"\d{12}", expected):
        return error(
            400,
            "InvalidBucketOwnerAWSAccountID",
            "The value of the expected bucket owner parameter must be an AWS account ID",
        )
    if s3._bucket_owner_account(bucket) in (None, expected):
        return None
    return error(403, "AccessDenied", "Access Denied")


def with_aws_key(headers: Headers) -> Headers:
    """AWS takes its own key when an upload asks for SSE-KMS and names none; MiniStack refuses."""
    if headers.get(ENCRYPTION) != "aws:kms" or headers.get(KEY_ID):
        return headers
    key = f"arn:aws:kms:{responses.get_region()}:{responses.get_account_id()}:alias/aws/s3"
    return {**headers, KEY_ID: key}


def with_bucket_key(bucket: str, answer: Answer) -> Answer:
    """AWS tells of an object with SSE-KMS whether it was written with the bucket key, by default as the bucket says.

    MiniStack never does. Here the bucket's setting of now counts, for all objects.
    """
    status, headers, body = answer
    document = s3._bucket_encryption.get(bucket)
    if headers.get(ENCRYPTION) != "aws:kms" or document is None:
        return answer
    on = ElementTree.fromstring(document).findtext("{*}Rule/{*}BucketKeyEnabled")
    return (status, {**headers, BUCKET_KEY: "true"}, body) if on == "true" else answer


def minimum_size(method: str, place: tuple[str, str], headers: Headers, answer: Answer) -> Answer:
    """AWS keeps the minimum object size that was put with the rules, and resets it when it is left out.

    MiniStack always answers with the default.
    """
    if method == "PUT":
        minimum_sizes[place] = headers.get(MINIMUM_SIZE, DEFAULT_MINIMUM_SIZE)
    elif method == "DELETE":
        minimum_sizes.pop(place, None)
        return answer
    status, answer_headers, body = answer
    return status, {**answer_headers, MINIMUM_SIZE: minimum_sizes.get(place, DEFAULT_MINIMUM_SIZE)}, body


def with_v1_prefixes_kept(original: Callable[[str, bytes], Answer]) -> Callable[[str, bytes], Answer]:
    """Old lifecycle rules have a `Prefix` of their own instead of a `Filter`, which AWS returns as it was.

    MiniStack loses it: the rule would then hold for the whole bucket.
    """

    def put_bucket_lifecycle(name: str, body: bytes) -> Answer:
        answer = original(name, body)
        rules = s3._bucket_lifecycle.get(name)
        if answer[0] < 300 and isinstance(rules, list):
            elements = ElementTree.fromstring(body).findall("{*}Rule")
            for rule, element in zip(rules, elements, strict=False):
                if element.find("{*}Prefix") is not None:
                    rule["Prefix"] = element.findtext("{*}Prefix") or ""
        return answer

    return put_bucket_lifecycle


def with_v1_prefixes_shown(original: Callable[[str], Answer]) -> Callable[[str], Answer]:
    """The other half of `with_v1_prefixes_kept`."""

    def get_bucket_lifecycle(name: str) -> Answer:
        status, headers, body = original(name)
        rules = s3._bucket_lifecycle.get(name)
        if status == 200 and isinstance(rules, list):
            # MiniStack writes exactly one Filter for each rule.
            parts = re.split(r"(<Filter>.*?</Filter>)", body.decode())
            for rule, place in zip(rules, range(1, len(parts), 2), strict=False):
                if "Prefix" in rule:
                    parts[place] = f"<Prefix>{escape(rule['Prefix'])}</Prefix>"
            body = "".join(parts).encode()
        return status, headers, body

    return get_bucket_lifecycle


def inventory(method: str, bucket: str, body: bytes, query_params: Query) -> Answer:
    """S3's inventory API. MiniStack takes its PUT for CreateBucket, and its DELETE for DeleteBucket."""
    account = responses.get_account_id()
    if s3._bucket_owner_account(bucket) != account:
        return error(404, "NoSuchBucket", "The specified bucket does not exist")
    known = inventories.setdefault((account, bucket), {})
    name = (query_params.get("id") or [""])[0]
    absent = error(404, "NoSuchConfiguration", "The specified configuration does not exist.")
    if method == "PUT":
        refused = inventory_refusal(name, body)
        if refused:
            return refused
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


def inventory_refusal(name: str, body: bytes) -> Answer | None:
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
