"""What CloudTrail checks of a trail, whom it answers about one, and what a trail lets through to EventBridge."""

import json
import re
from collections.abc import Callable
from xml.etree import ElementTree

import hooks
from hooks import Answer, Json, Operation
from ministack.core import iam_evaluator, responses
from ministack.services import cloudtrail, kms, s3

SERVICE = "cloudtrail.amazonaws.com"
# No separator at an end, none beside another.
NAME = re.compile(r"(?=.{3,128}$)[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
# None of these is raised by AWS. A condition is one value of an advanced selector.
MAX_TRAILS = 5
MAX_DATA_RESOURCES = 250
MAX_CONDITIONS = 500


def install() -> None:
    hooks.need(cloudtrail, "_account_trail_items", "_event_selectors", "_DEFAULT_EVENT_SELECTORS")
    hooks.need(cloudtrail, "_err", "_find_mutable_trail", "_trail_arn")
    hooks.need(iam_evaluator, "EvalContext", "evaluate_resource_policy")
    hooks.need(cloudtrail, "_ok", "_parse_trail_arn", "_trail_view", "_trails", "_visible_trail_items")
    hooks.need(kms, "_resolve_key")
    hooks.need(s3, "_bucket_encryption", "_bucket_owner_account", "_bucket_policies")
    hooks.patch(cloudtrail._DISPATCH, "CreateTrail", ["body"], with_bucket_checked_at_create)
    hooks.patch(cloudtrail._DISPATCH, "CreateTrail", ["body"], with_quota)
    hooks.patch(cloudtrail._DISPATCH, "UpdateTrail", ["body"], with_bucket_checked_at_update)
    hooks.patch(cloudtrail._DISPATCH, "PutEventSelectors", ["body"], with_limits)
    hooks.patch(cloudtrail._DISPATCH, "DescribeTrails", ["body"], with_trails_of_the_organization)
    for name, is_read in {
        "DeleteTrail": False,
        "GetEventSelectors": True,
        "GetTrail": True,
        "GetTrailStatus": True,
        "PutEventSelectors": False,
        "StartLogging": False,
        "StopLogging": False,
        "UpdateTrail": False,
    }.items():
        hooks.patch(cloudtrail._DISPATCH, name, ["body"], with_trails_apart(is_read))


def with_quota(original: Operation) -> Operation:
    """AWS allows five trails a region, those of other regions that log there included; MiniStack any number."""

    def create_trail(body: Json) -> Answer:
        if len(cloudtrail._visible_trail_items()) >= MAX_TRAILS:
            message = f"User: {responses.get_account_id()} already has {MAX_TRAILS} trails in {responses.get_region()}."
            return cloudtrail._err("MaximumNumberOfTrailsExceededException", message)
        return original(body)

    return create_trail


def with_limits(original: Operation) -> Operation:
    """AWS refuses selectors that are too many or not whole; MiniStack only knows the limit of five basic ones."""

    def put_event_selectors(body: Json) -> Answer:
        basic, advanced = body.get("EventSelectors") or [], body.get("AdvancedEventSelectors") or []
        resources = sum(len(it.get("Values", [])) for one in basic for it in one.get("DataResources", []))
        if resources > MAX_DATA_RESOURCES:
            message = f"The total number of data resources ({resources}) is more than {MAX_DATA_RESOURCES}."
            return cloudtrail._err("InvalidEventSelectorsException", message)
        fields = [field for one in advanced for field in one.get("FieldSelectors", [])]
        conditions = sum(len(values) for it in fields for name, values in it.items() if name != "Field")
        if conditions > MAX_CONDITIONS:
            message = f"The total number of conditions ({conditions}) is more than {MAX_CONDITIONS}."
            return cloudtrail._err("InvalidEventSelectorsException", message)
        if not all(is_whole(one.get("FieldSelectors", [])) for one in advanced):
            message = "A selector needs one eventCategory, no field twice, and an operator with values for each field."
            return cloudtrail._err("InvalidEventSelectorsException", message)
        return original(body)

    return put_event_selectors


def is_whole(fields: list[Json]) -> bool:
    names = [it.get("Field") for it in fields]
    operators = [[values for name, values in it.items() if name != "Field"] for it in fields]
    return "eventCategory" in names and len(set(names)) == len(names) and all(it and all(it) for it in operators)


def with_trails_of_the_organization(original: Operation) -> Operation:
    """A trail of an organization is shown in all its accounts; here all accounts of this machine are in one."""

    def describe_trails(body: Json) -> Answer:
        status, headers, answer = original(body)
        if status != 200 or body.get("trailNameList"):
            return status, headers, answer
        trails = json.loads(answer)["trailList"]
        for (account, home, _), trail in cloudtrail._trails.all_items():
            here = home == responses.get_region()
            shadow = trail.get("IsMultiRegionTrail") and body.get("includeShadowTrails", True)
            if trail.get("IsOrganizationTrail") and account != responses.get_account_id() and (here or shadow):
                trails.append(cloudtrail._trail_view(trail))
        return cloudtrail._ok({"trailList": trails})

    return describe_trails


def with_trails_apart(is_read: bool) -> Callable[[Operation], Operation]:
    """AWS answers about a trail at its home, and to its account; MiniStack about those of any region."""

    def make(original: Operation) -> Operation:
        def call(body: Json) -> Answer:
            named = str(body.get("Name") or body.get("TrailName") or "").strip()
            try:
                spec, name = cloudtrail._parse_trail_arn(named)
            except ValueError:
                homes = [home for home, name, _ in cloudtrail._visible_trail_items() if name == named]
                only_elsewhere = homes and responses.get_region() not in homes
                return not_found(named) if is_read and only_elsewhere else original(body)
            if spec.account_id != responses.get_account_id():
                message = (
                    "AccountID in ARN is wrong, you can only access resources with AccountID "
                    f"{responses.get_account_id()}."
                )
                return cloudtrail._err("CloudTrailARNInvalidException", message)
            return not_found(name) if is_read and spec.region != responses.get_region() else original(body)

        return call

    return make


def not_found(name: str) -> Answer:
    account = responses.get_account_id()
    return cloudtrail._err("TrailNotFoundException", f"Unknown trail: {name} for the user: {account}")


def with_bucket_checked_at_create(original: Operation) -> Operation:
    """AWS makes no trail of a name against its rules, nor one that could not write to its bucket; MiniStack does."""

    def create_trail(body: Json) -> Answer:
        name = str(body.get("Name", "")).strip()
        if name and (not NAME.fullmatch(name) or ADDRESS.fullmatch(name)):
            return cloudtrail._err("InvalidTrailNameException", f"Trail name {name} is not valid.")
        refused = bucket_refusal(cloudtrail._trail_arn(name), body) if name else None
        return refused or original(body)

    return create_trail


def with_bucket_checked_at_update(original: Operation) -> Operation:
    """The same for another bucket, prefix or key."""

    def update_trail(body: Json) -> Answer:
        _, _, trail, problem = cloudtrail._find_mutable_trail(str(body.get("Name", "")).strip())
        refused = None if problem else bucket_refusal(trail["TrailARN"], {**trail, **body})
        return refused or original(body)

    return update_trail


def bucket_refusal(trail_arn: str, trail: Json) -> Answer | None:
    bucket, prefix = trail.get("S3BucketName") or "", trail.get("S3KeyPrefix") or ""
    owner = s3._bucket_owner_account(bucket)
    if owner is None:
        return cloudtrail._err("S3BucketDoesNotExistException", f"S3 bucket {bucket} does not exist!")
    account = responses.get_account_id()
    policy = s3._bucket_policies.get_scoped(owner, None, bucket)
    log_file = f"{bucket}/{prefix + '/' if prefix else ''}AWSLogs/{account}/CloudTrail/log"
    for action, resource in (("s3:GetBucketAcl", bucket), ("s3:PutObject", log_file)):
        keys = {"aws:sourcearn": trail_arn, "aws:sourceaccount": account}
        if action == "s3:PutObject":
            keys["s3:x-amz-acl"] = "bucket-owner-full-control"
            if trail.get("KmsKeyId"):
                keys["s3:x-amz-server-side-encryption"] = "aws:kms"
                keys["s3:x-amz-server-side-encryption-aws-kms-key-id"] = trail["KmsKeyId"]
        context = iam_evaluator.EvalContext(
            principal_arn=SERVICE,
            principal_type="Service",
            principal_account=account,
            action=action,
            resource_arn=f"arn:aws:s3:::{resource}",
            region=responses.get_region(),
            secure_transport=True,
            service_context=keys,
        )
        if iam_evaluator.evaluate_resource_policy(policy, context, service=SERVICE).decision != "Allow":
            return cloudtrail._err(
                "InsufficientS3BucketPolicyException", f"Incorrect S3 bucket policy is detected for bucket: {bucket}"
            )
    return key_refusal(trail_arn, trail.get("KmsKeyId"), bucket)


def key_refusal(trail_arn: str, key_id: str | None, bucket: str) -> Answer | None:
    """AWS makes no trail that could not encrypt its files; with a bucket key on the bucket, it has to decrypt, too."""
    if not key_id:
        return None
    key = kms._resolve_key(key_id)
    if key is None or key["KeyState"] != "Enabled":
        return cloudtrail._err("KmsKeyNotFoundException", f"KMS key {key_id} is not found, or not enabled.")
    account = responses.get_account_id()
    for action in ("kms:GenerateDataKey", "kms:DescribeKey", *(["kms:Decrypt"] if has_bucket_key(bucket) else [])):
        keys = {"aws:sourcearn": trail_arn, "aws:sourceaccount": account}
        if action == "kms:GenerateDataKey":
            keys["kms:encryptioncontext:aws:cloudtrail:arn"] = trail_arn
        context = iam_evaluator.EvalContext(
            principal_arn=SERVICE,
            principal_type="Service",
            principal_account=account,
            action=action,
            resource_arn=key["Arn"],
            region=responses.get_region(),
            secure_transport=True,
            service_context=keys,
        )
        if iam_evaluator.evaluate_resource_policy(key["Policy"], context, service=SERVICE).decision != "Allow":
            return cloudtrail._err(
                "InsufficientEncryptionPolicyException",
                f"Insufficient permissions to access S3 bucket {bucket} or KMS key {key['Arn']}.",
            )
    return None


def has_bucket_key(bucket: str) -> bool:
    document = s3._bucket_encryption.get(bucket)
    return bool(document) and ElementTree.fromstring(document).findtext("{*}Rule/{*}BucketKeyEnabled") == "true"


def logs_writes(source: str, region: str) -> bool:
    """Whether a trail logs the management writes of this service in this region.

    Without one they do not reach EventBridge, as on AWS.
    """
    here = responses.get_account_id()
    for (account, home, name), trail in cloudtrail._trails.all_items():
        if account != here and not trail.get("IsOrganizationTrail"):
            continue
        if not trail.get("IsLogging") or not (trail.get("IsMultiRegionTrail") or home == region):
            continue
        default = cloudtrail._DEFAULT_EVENT_SELECTORS
        selectors = cloudtrail._event_selectors.get_scoped(account, home, name, default)
        if any(selects_writes(selector, source) for selector in selectors):
            return True
    return False


def selects_writes(selector: Json, source: str) -> bool:
    if "FieldSelectors" not in selector:
        return (
            selector.get("IncludeManagementEvents", True)
            and selector.get("ReadWriteType", "All") in ("All", "WriteOnly")
            and source not in selector.get("ExcludeManagementEventSources", [])
        )
    event = {"eventCategory": "Management", "readOnly": "false", "eventSource": source}
    fields = selector["FieldSelectors"]
    return any(it.get("Field") == "eventCategory" for it in fields) and all(field_selects(it, event) for it in fields)


def field_selects(field: Json, event: dict[str, str]) -> bool:
    value = event.get(field.get("Field", ""))
    if value is None:
        return False
    return value in field.get("Equals", [value]) and value not in field.get("NotEquals", [])
