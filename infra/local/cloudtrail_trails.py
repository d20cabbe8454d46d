"""What CloudTrail checks when a trail is made, and what a trail lets through to EventBridge."""

from ministack.core import iam_evaluator, responses
from ministack.services import cloudtrail, s3

import hooks

SERVICE = "cloudtrail.amazonaws.com"


def install() -> None:
    hooks.need(cloudtrail, "_account_trail_items", "_event_selectors", "_DEFAULT_EVENT_SELECTORS")
    hooks.need(cloudtrail, "_err", "_find_mutable_trail", "_trail_arn")
    hooks.need(iam_evaluator, "EvalContext", "evaluate_resource_policy")
    hooks.need(s3, "_bucket_owner_account", "_bucket_policies")
    hooks.patch(cloudtrail._DISPATCH, "CreateTrail", ["body"], with_bucket_checked_at_create)
    hooks.patch(cloudtrail._DISPATCH, "UpdateTrail", ["body"], with_bucket_checked_at_update)


def with_bucket_checked_at_create(original):
    """AWS makes no trail that could not write to its bucket; MiniStack makes it."""

    def create_trail(body):
        name = str(body.get("Name", "")).strip()
        refused = bucket_refusal(cloudtrail._trail_arn(name), body) if name else None
        return refused or original(body)

    return create_trail


def with_bucket_checked_at_update(original):
    """The same for another bucket, prefix or key."""

    def update_trail(body):
        _, _, trail, problem = cloudtrail._find_mutable_trail(str(body.get("Name", "")).strip())
        refused = None if problem else bucket_refusal(trail["TrailARN"], {**trail, **body})
        return refused or original(body)

    return update_trail


def bucket_refusal(trail_arn: str, trail: dict):
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
    return None


def logs_writes(source: str, region: str) -> bool:
    """Whether a trail logs the management writes of this service in this region.

    Without one they do not reach EventBridge, as on AWS.
    """
    account = responses.get_account_id()
    for home, name, trail in cloudtrail._account_trail_items():
        if not trail.get("IsLogging") or not (trail.get("IsMultiRegionTrail") or home == region):
            continue
        default = cloudtrail._DEFAULT_EVENT_SELECTORS
        selectors = cloudtrail._event_selectors.get_scoped(account, home, name, default)
        if any(selects_writes(selector, source) for selector in selectors):
            return True
    return False


def selects_writes(selector: dict, source: str) -> bool:
    if "FieldSelectors" not in selector:
        return (
            selector.get("IncludeManagementEvents", True)
            and selector.get("ReadWriteType", "All") in ("All", "WriteOnly")
            and source not in selector.get("ExcludeManagementEventSources", [])
        )
    event = {"eventCategory": "Management", "readOnly": "false", "eventSource": source}
    fields = selector["FieldSelectors"]
    return any(it.get("Field") == "eventCategory" for it in fields) and all(field_selects(it, event) for it in fields)


def field_selects(field: dict, event: dict) -> bool:
    value = event.get(field.get("Field", ""))
    if value is None:
        return False
    return value in field.get("Equals", [value]) and value not in field.get("NotEquals", [])
