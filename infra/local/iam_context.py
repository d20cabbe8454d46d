"""What IAM is asked with: condition keys, resources and callers that MiniStack leaves out."""

from collections.abc import Callable
from typing import Any

import hooks
from hooks import Answer, Headers, Json, Query
from ministack.core import iam_actions, iam_evaluator, responses
from ministack.services import iam, s3

KEY_ID = "x-amz-server-side-encryption-aws-kms-key-id"

# What the root user of a resource's account may do whatever the resource's policy says, so that it can mend the policy.
ROOT_MAY_ALWAYS = {
    "s3:GetBucketPolicy",
    "s3:PutBucketPolicy",
    "s3:DeleteBucketPolicy",
    "dynamodb:DeleteResourcePolicy",
}

# Of an action, a query, a path and headers: condition keys and their values.
ObjectContext = Callable[[str, Query, str, Headers], Json]
ServiceContext = Callable[[str, Query | None, str, Headers | None], Json]
# Of service, method, path, headers, body and query.
ExtractAction = Callable[[str, str, str, Headers, bytes, Query], str | None]
# Of the same, region and account.
ExtractArn = Callable[[str, str, str, Headers, bytes, Query, str, str], str]
# Of access key id, action, service, region, resource and condition keys: None, or why not.
Enforce = Callable[[str, str, str, str, str, Json | None], Any]
# Of a condition key and what a policy is asked with.
Resolve = Callable[[str, iam_evaluator.EvalContext], Any]


def install() -> None:
    hooks.need(iam_actions, "_safe_json_field", "_query_param")
    hooks.need(s3, "_multipart_uploads", "upload_encryption_header")
    parameters = ["iam_action", "query_params", "path", "headers"]
    hooks.patch(iam_actions, "_s3_object_context", parameters, with_kms_key_id)
    hooks.patch(iam_actions, "s3_service_context", ["iam_action", "query_params", "path", "headers"], with_acl)
    hooks.patch(iam_actions, "dynamodb_service_context", ["body"], with_leading_keys)
    parameters = ["service", "action", "principal_arn", "request_id", "error_code", "message", "headers"]
    parameters += ["resource_arn", "explicit_deny", "resource_policy_arn"]
    hooks.patch(iam_actions, "access_denied_response", parameters, with_request_id)
    parameters = ["service", "method", "path", "headers", "body", "query_params"]
    hooks.patch(iam_actions, "extract_iam_action", parameters, with_actions)
    parameters = ["service", "method", "path", "headers", "body", "query_params", "region", "account_id"]
    hooks.patch(iam_actions, "extract_resource_arn", parameters, with_resources)
    hooks.need(iam_evaluator, "resolve_principal", "_resource_policy", "EvalContext", "evaluate_resource_policy")
    hooks.need(iam_evaluator, "AuthError")
    parameters = ["access_key_id", "iam_action", "service", "region", "resource_arn", "service_context"]
    hooks.patch(iam_evaluator, "enforce", parameters, with_root_denied)
    hooks.patch(iam_evaluator, "_resolve_condition_key", ["key", "ctx"], with_principal_arn)


def with_kms_key_id(original: ObjectContext) -> ObjectContext:
    """AWS knows the condition key `s3:x-amz-server-side-encryption-aws-kms-key-id`.

    MiniStack does not, so the baseline's policy would deny uploads with the right key, too.
    A part cannot carry the header: the key of the upload that it belongs to counts.
    """

    def s3_object_context(iam_action: str, query_params: Query, path: str, headers: Headers) -> Json:
        context = original(iam_action, query_params, path, headers)
        if iam_action != "s3:PutObject":
            return context
        upload_id = iam_actions._query_param(query_params, "uploadId")
        if upload_id:
            asked = s3.upload_encryption_header(upload_id)
            key = s3._multipart_uploads[upload_id]["preserved_headers"].get(KEY_ID) if asked else None
        else:
            key = headers.get(KEY_ID)
        if key:
            context[f"s3:{KEY_ID}"] = key
        return context

    return s3_object_context


def with_acl(original: ServiceContext) -> ServiceContext:
    """AWS knows the condition key `s3:x-amz-acl` where an ACL is put, too; MiniStack where an object is."""

    def s3_service_context(
        iam_action: str, query_params: Query | None, path: str = "", headers: Headers | None = None
    ) -> Json:
        context = original(iam_action, query_params, path, headers)
        acl = (headers or {}).get("x-amz-acl")
        if acl and iam_action in ("s3:PutBucketAcl", "s3:PutObjectAcl"):
            context["s3:x-amz-acl"] = acl
        return context

    return s3_service_context


def with_leading_keys(original: Callable[[bytes], Json]) -> Callable[[bytes], Json]:
    """AWS knows the keys of the items that a call is about as `dynamodb:LeadingKeys`; MiniStack does not.

    Of the ledger's table, which has one key attribute.
    """

    def dynamodb_service_context(body: bytes) -> Json:
        context = original(body)
        asked = iam_actions._safe_json_field(body, "RequestItems") or {}
        items = [key for table in asked.values() if isinstance(table, dict) for key in table.get("Keys", [])]
        items += [iam_actions._safe_json_field(body, it) for it in ("Key", "Item")]
        keys = [item["subject"].get("S") for item in items if item and "subject" in item]
        if keys:
            context["dynamodb:LeadingKeys"] = keys
        return context

    return dynamodb_service_context


def with_request_id(original: Callable[..., Answer]) -> Callable[..., Answer]:
    """AWS names the request in a header of every refusal; MiniStack in the body alone, where no SDK looks."""

    def access_denied_response(service: str, action: str, principal_arn: str, request_id: str, **more: Any) -> Answer:
        status, headers, body = original(service, action, principal_arn, request_id, **more)
        name = "x-amz-request-id" if service == "s3" else "x-amzn-RequestId"
        return status, {**headers, name: request_id}, body

    return access_denied_response


def with_actions(original: ExtractAction) -> ExtractAction:
    """AWS has no actions of their own for SQS's batches, one for reading a function's concurrency, two for budgets.

    MiniStack asks for `sqs:SendMessageBatch`, for the right to change the concurrency, for `budgets:CreateBudget`.
    """

    def extract_iam_action(
        service: str, method: str, path: str, headers: Headers, body: bytes, query_params: Query
    ) -> str | None:
        action = original(service, method, path, headers, body, query_params)
        if action == "lambda:PutFunctionConcurrency" and method != "PUT":
            return "lambda:GetFunctionConcurrency" if method == "GET" else "lambda:DeleteFunctionConcurrency"
        if action and action.startswith("sqs:"):
            return action.removesuffix("Batch")
        if action and action.startswith("budgets:"):
            return "budgets:ViewBudget" if action.startswith("budgets:Describe") else "budgets:ModifyBudget"
        return action

    return extract_iam_action


def with_resources(original: ExtractArn) -> ExtractArn:
    """AWS authorizes CreateAlias on the key that it names, CreateFunction on the function, GetParametersByPath on its
    path, targets on their rule, calls about a budget or the policy of a table on that.

    MiniStack asks for `*`, which no exact policy allows, and for rules of the default bus with the bus in their ARN.
    """

    def extract_resource_arn(
        service: str,
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        query_params: Query,
        region: str,
        account_id: str,
    ) -> str:
        arn = original(service, method, path, headers, body, query_params, region, account_id)
        place = f"{region}:{account_id}"
        if service == "events":
            rule = iam_actions._safe_json_field(body, "Rule")
            if rule and not iam_actions._safe_json_field(body, "EventBusName"):
                return f"arn:aws:events:{place}:rule/{rule}"
            return arn.replace(":rule/default/", ":rule/")
        if arn != "*":
            return arn
        if service == "lambda" and method == "POST" and path.endswith("/functions"):
            name = iam_actions._safe_json_field(body, "FunctionName")
            return f"arn:aws:lambda:{place}:function:{name}" if name else arn
        if service == "kms":
            key = iam_actions._safe_json_field(body, "TargetKeyId")
            if key:
                return key if key.startswith("arn:") else f"arn:aws:kms:{place}:key/{key}"
        if service == "dynamodb":
            return iam_actions._safe_json_field(body, "ResourceArn") or arn
        if service == "budgets":
            budget = iam_actions._safe_json_field(body, "Budget") or {}
            name = iam_actions._safe_json_field(body, "BudgetName") or budget.get("BudgetName")
            return f"arn:aws:budgets::{account_id}:budget/{name}" if name else arn
        if service == "ssm":
            parent = iam_actions._safe_json_field(body, "Path")
            if parent:
                return f"arn:aws:ssm:{place}:parameter/{parent.lstrip('/')}"
        return arn

    return extract_resource_arn


def with_root_denied(original: Enforce) -> Enforce:
    """AWS binds the root user to the Deny statements of a bucket's or a table's policy; MiniStack lets it do anything."""

    def enforce(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: Json | None = None,
    ) -> Any:
        denied = original(access_key_id, iam_action, service, region, resource_arn, service_context)
        if denied is not None or service not in ("s3", "dynamodb") or iam_action in ROOT_MAY_ALWAYS:
            return denied
        principal = iam_evaluator.resolve_principal(access_key_id or "", responses.get_account_id())
        if isinstance(principal, iam_evaluator.AuthError) or principal.policies is not None:
            return None
        policy = iam_evaluator._resource_policy(service, resource_arn)
        if policy is None:
            return None
        context = iam_evaluator.EvalContext(
            principal_arn=principal.arn,
            principal_type=principal.type,
            principal_account=principal.account,
            action=iam_action,
            resource_arn=resource_arn,
            region=region,
            service_context={key.lower(): value for key, value in (service_context or {}).items()},
        )
        verdict = iam_evaluator.evaluate_resource_policy(policy[0], context)
        if verdict.decision != "Deny":
            return None
        verdict.principal_arn, verdict.resource_policy_arn = principal.arn, resource_arn
        return verdict

    return enforce


def with_principal_arn(original: Resolve) -> Resolve:
    """The `aws:PrincipalArn` of a session is its role's ARN, and a service has none; MiniStack's is the session's.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """

    def resolve_condition_key(key: str, ctx: iam_evaluator.EvalContext) -> Any:
        found = original(key, ctx)
        if key.lower() != "aws:principalarn":
            return found
        if ctx.principal_type == "Service":
            return None
        if ":assumed-role/" not in found:
            return found
        name = found.split("/")[1]
        role = iam._roles.get_scoped(ctx.principal_account, None, name) or {}
        return role.get("Arn", f"arn:aws:iam::{ctx.principal_account}:role/{name}")

    return resolve_condition_key
