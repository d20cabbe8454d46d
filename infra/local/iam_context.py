"""What IAM is asked with: condition keys and resources that MiniStack leaves out."""

import hooks
from ministack.core import iam_actions

KEY_ID = "x-amz-server-side-encryption-aws-kms-key-id"


def install() -> None:
    hooks.need(iam_actions, "_safe_json_field")
    hooks.patch(
        iam_actions, "_s3_object_context", ["iam_action", "query_params", "path", "headers"], with_kms_key_id
    )
    parameters = ["service", "method", "path", "headers", "body", "query_params", "region", "account_id"]
    hooks.patch(iam_actions, "extract_resource_arn", parameters, with_alias_target)


def with_kms_key_id(original):
    """AWS knows the condition key `s3:x-amz-server-side-encryption-aws-kms-key-id`.

    MiniStack does not, so the baseline's policy would deny uploads with the right key, too.
    """

    def s3_object_context(iam_action, query_params, path, headers):
        context = original(iam_action, query_params, path, headers)
        if iam_action == "s3:PutObject" and headers.get(KEY_ID):
            context[f"s3:{KEY_ID}"] = headers[KEY_ID]
        return context

    return s3_object_context


def with_alias_target(original):
    """AWS authorizes CreateAlias on the key that it names; MiniStack on `*`, which no exact policy allows."""

    def extract_resource_arn(service, method, path, headers, body, query_params, region, account_id):
        arn = original(service, method, path, headers, body, query_params, region, account_id)
        if service != "kms" or arn != "*":
            return arn
        target = iam_actions._safe_json_field(body, "TargetKeyId")
        if not target or target.startswith("arn:"):
            return target or arn
        return f"arn:aws:kms:{region}:{account_id}:key/{target}"

    return extract_resource_arn
