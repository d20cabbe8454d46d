"""What IAM asks of a caller beyond the call itself: what CloudFormation does with the caller's permissions, and PassRole.

The actions of each resource type are those that its handlers name in CloudFormation's registry.
"""

import contextvars
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import hooks
from hooks import Answer, Delete, Headers, Json, Query
from ministack.core import iam_evaluator, responses, router
from ministack.services import lambda_svc
from ministack.services.cloudformation import stacks

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="")

# Of each type: its ARN, of which `{id}` is the physical id; the actions to create, read, update and delete it; and those
# of them that name no resource.
TYPES = {
    "AWS::CloudWatch::Alarm": (
        "arn:aws:cloudwatch:{place}:alarm:{id}",
        "PutMetricAlarm TagResource",
        "DescribeAlarms ListTagsForResource",
        "PutMetricAlarm TagResource UntagResource",
        "DeleteAlarms",
        "",
    ),
    "AWS::CloudWatch::Dashboard": (
        "arn:aws:cloudwatch::{account}:dashboard/{id}",
        "PutDashboard",
        "GetDashboard",
        "PutDashboard",
        "DeleteDashboards",
        "",
    ),
    "AWS::DynamoDB::Table": (
        "arn:aws:dynamodb:{place}:table/{id}",
        "CreateTable DescribeTable DescribeTimeToLive DescribeContinuousBackups UpdateContinuousBackups "
        "DescribeContributorInsights DescribeKinesisStreamingDestination GetResourcePolicy PutResourcePolicy "
        "ListTagsOfResource TagResource",
        "DescribeTable DescribeContinuousBackups DescribeContributorInsights DescribeKinesisStreamingDestination "
        "DescribeTimeToLive GetResourcePolicy ListTagsOfResource",
        "UpdateTable DescribeTable DescribeTimeToLive DescribeContinuousBackups UpdateContinuousBackups "
        "DescribeContributorInsights DescribeKinesisStreamingDestination GetResourcePolicy PutResourcePolicy "
        "ListTagsOfResource TagResource UntagResource",
        "DeleteTable DescribeTable",
        "",
    ),
    "AWS::Events::Rule": (
        "arn:aws:events:{place}:rule/{id}",
        "PutRule PutTargets DescribeRule TagResource",
        "DescribeRule ListTargetsByRule ListTagsForResource",
        "PutRule PutTargets RemoveTargets DescribeRule ListTargetsByRule TagResource UntagResource",
        "DeleteRule RemoveTargets ListTargetsByRule DescribeRule",
        "",
    ),
    "AWS::IAM::Role": (
        "arn:aws:iam::{account}:role/{id}",
        "CreateRole PutRolePolicy GetRole GetRolePolicy TagRole",
        "GetRole ListAttachedRolePolicies ListRolePolicies GetRolePolicy",
        "UpdateRole UpdateAssumeRolePolicy PutRolePermissionsBoundary DeleteRolePermissionsBoundary DeleteRolePolicy "
        "PutRolePolicy GetRole TagRole UntagRole",
        "DeleteRole DeleteRolePolicy DetachRolePolicy GetRole ListAttachedRolePolicies ListRolePolicies",
        "",
    ),
    "AWS::KMS::Alias": (
        "arn:aws:kms:{place}:{id}",
        "CreateAlias",
        "ListAliases",
        "UpdateAlias",
        "DeleteAlias",
        "ListAliases",
    ),
    "AWS::KMS::Key": (
        "arn:aws:kms:{place}:key/{id}",
        "CreateKey EnableKeyRotation TagResource",
        "DescribeKey GetKeyPolicy GetKeyRotationStatus ListResourceTags",
        "DescribeKey DisableKey DisableKeyRotation EnableKey EnableKeyRotation PutKeyPolicy TagResource UntagResource "
        "UpdateKeyDescription",
        "DescribeKey ScheduleKeyDeletion",
        "CreateKey",
    ),
    "AWS::Lambda::EventInvokeConfig": (
        "arn:aws:lambda:{place}:function:{FunctionName}",
        "PutFunctionEventInvokeConfig GetFunctionEventInvokeConfig",
        "GetFunctionEventInvokeConfig",
        "UpdateFunctionEventInvokeConfig PutFunctionEventInvokeConfig GetFunctionEventInvokeConfig",
        "DeleteFunctionEventInvokeConfig",
        "",
    ),
    "AWS::Lambda::EventSourceMapping": (
        "arn:aws:lambda:{place}:event-source-mapping:{id}",
        "CreateEventSourceMapping GetEventSourceMapping TagResource",
        "GetEventSourceMapping ListTags",
        "UpdateEventSourceMapping GetEventSourceMapping TagResource UntagResource",
        "DeleteEventSourceMapping GetEventSourceMapping",
        "CreateEventSourceMapping",
    ),
    "AWS::Lambda::Permission": (
        "arn:aws:lambda:{place}:function:{FunctionName}",
        "AddPermission",
        "GetPolicy",
        "AddPermission RemovePermission",
        "RemovePermission",
        "",
    ),
    "AWS::Logs::LogGroup": (
        "arn:aws:logs:{place}:log-group:{id}",
        "CreateLogGroup PutRetentionPolicy AssociateKmsKey TagResource DescribeLogGroups",
        "DescribeLogGroups ListTagsForResource GetDataProtectionPolicy",
        "DescribeLogGroups AssociateKmsKey DisassociateKmsKey PutRetentionPolicy TagResource UntagResource",
        "DescribeLogGroups DeleteLogGroup",
        "DescribeLogGroups",
    ),
    "AWS::SNS::Subscription": (
        "{TopicArn}",
        "Subscribe GetSubscriptionAttributes",
        "GetSubscriptionAttributes",
        "SetSubscriptionAttributes GetSubscriptionAttributes",
        "Unsubscribe GetSubscriptionAttributes",
        "GetSubscriptionAttributes SetSubscriptionAttributes Unsubscribe",
    ),
    "AWS::SNS::Topic": (
        "arn:aws:sns:{place}:{TopicName}",
        "CreateTopic TagResource GetTopicAttributes",
        "GetTopicAttributes ListTagsForResource ListSubscriptionsByTopic GetDataProtectionPolicy",
        "SetTopicAttributes TagResource UntagResource GetTopicAttributes ListTagsForResource ListSubscriptionsByTopic",
        "DeleteTopic GetTopicAttributes",
        "",
    ),
    "AWS::SNS::TopicPolicy": (
        "{Topics}",
        "SetTopicAttributes",
        "GetTopicAttributes",
        "SetTopicAttributes",
        "SetTopicAttributes",
        "",
    ),
    "AWS::SQS::Queue": (
        "arn:aws:sqs:{place}:{QueueName}",
        "CreateQueue GetQueueUrl GetQueueAttributes ListQueueTags TagQueue",
        "GetQueueAttributes ListQueueTags",
        "SetQueueAttributes GetQueueAttributes ListQueueTags TagQueue UntagQueue",
        "DeleteQueue GetQueueAttributes",
        "",
    ),
    "AWS::SQS::QueuePolicy": (
        "arn:aws:sqs:{place}:{Queues}",
        "SetQueueAttributes",
        "GetQueueAttributes",
        "SetQueueAttributes",
        "SetQueueAttributes",
        "",
    ),
    "AWS::SSM::Parameter": (
        "arn:aws:ssm:{place}:parameter{id}",
        "PutParameter AddTagsToResource GetParameters",
        "GetParameters",
        "PutParameter AddTagsToResource RemoveTagsFromResource GetParameters",
        "DeleteParameter",
        "",
    ),
}
OPERATIONS = ("create", "read", "update", "delete")
# What a resource that does not exist yet will be called.
NAMES = ("RoleName", "Name", "AlarmName", "AliasName", "DashboardName", "LogGroupName", "TableName")

PinCaller = Callable[[Headers, Query | None], None]


def install() -> None:
    hooks.need(stacks, "_provision_keeping_seed", "_update_keeping_seed", "_delete_resource")
    hooks.patch(iam_evaluator, "pin_request_caller", ["headers", "query_params"], remembering_caller)
    hooks.patch(stacks, "_provision_keeping_seed", ["args"], provisioning)
    hooks.patch(stacks, "_update_keeping_seed", ["args"], updating)
    parameters = ["resource_type", "physical_id", "props", "stack_name", "logical_id"]
    hooks.patch(stacks, "_delete_resource", parameters, deleting)
    hooks.patch(lambda_svc, "_create_function", ["data"], passing_role)
    hooks.patch(lambda_svc, "_update_config", ["name", "data"], passing_role)


def remembering_caller(original: PinCaller) -> PinCaller:
    def pin_request_caller(headers: Headers, query_params: Query | None = None) -> None:
        CALLER.set(router.extract_access_key_id(headers, query_params) or "")
        original(headers, query_params)

    return pin_request_caller


def provisioning(original: Callable[..., Any]) -> Callable[..., Any]:
    """AWS does each of these with the permissions of who called CloudFormation; MiniStack asks nobody."""

    def provision(*args: Any) -> Any:
        resource_type, logical_id, props, _stack_name = args
        named = (props[name] for name in NAMES if isinstance(props.get(name), str))
        authorize(resource_type, "create", next(named, logical_id), props)
        return original(*args)

    return provision


def updating(original: Callable[..., Any]) -> Callable[..., Any]:
    def update(*args: Any) -> Any:
        resource_type, physical_id, old, new, *_ = args
        if old != new:
            authorize(resource_type, "update", physical_id, new)
        return original(*args)

    return update


def deleting(original: Delete) -> Delete:
    def delete(
        resource_type: str, physical_id: str, props: Json, stack_name: str | None = None, logical_id: str | None = None
    ) -> None:
        authorize(resource_type, "delete", physical_id, props)
        return original(resource_type, physical_id, props, stack_name, logical_id)

    return delete


def authorize(resource_type: str, operation: str, physical_id: str, props: Json) -> None:
    """Raises PermissionError unless the caller may do all that this operation takes."""
    if resource_type not in TYPES:
        return
    pattern, *actions, unnamed = TYPES[resource_type]
    account = responses.get_account_id()
    # A queue's URL ends in its name; of a list, each policy has one member.
    texts = {name: last(value) for name, value in props.items() if isinstance(value, (str, list))}
    place = f"{responses.get_region()}:{account}"
    # What has no name yet is given one by CloudFormation: whoever creates it may create any.
    named = defaultdict(lambda: "*", {**texts, "id": physical_id, "place": place, "account": account})
    arn = pattern.format_map(named)
    service = resource_type.split("::")[1].lower()
    for action in actions[OPERATIONS.index(operation)].split():
        ask(f"{service}:{action}", "*" if action in unnamed.split() else arn, context_of(props, account))
    for target in props.get("Targets") or []:
        if operation in ("create", "update") and target.get("RoleArn"):
            ask("iam:PassRole", target["RoleArn"], {"iam:PassedToService": "events.amazonaws.com"})


def last(value: Any) -> Any:
    value = value[0] if isinstance(value, list) and value else value
    return value.rsplit("/", 1)[-1] if isinstance(value, str) and value.startswith("http") else value


def context_of(props: Json, account: str) -> Json:
    """The condition keys that AWS has for these."""
    context: Json = {"aws:CalledVia": ["cloudformation.amazonaws.com"]}
    tags = props.get("Tags")
    for tag in tags if isinstance(tags, list) else []:
        context[f"aws:ResourceTag/{tag['Key']}"] = context[f"aws:RequestTag/{tag['Key']}"] = tag["Value"]
    if "FunctionName" in props:
        context["lambda:FunctionArn"] = (
            f"arn:aws:lambda:{responses.get_region()}:{account}:function:{props['FunctionName']}"
        )
    if props.get("PermissionsBoundary"):
        context["iam:PermissionsBoundary"] = props["PermissionsBoundary"]
    return context


def ask(action: str, arn: str, context: Json) -> None:
    """Raises PermissionError if the caller of the request may not do this."""
    if not CALLER.get():
        return
    service, region = action.split(":", 1)[0], responses.get_region()
    denied = iam_evaluator.enforce(CALLER.get(), action, service, region, resource_arn=arn, service_context=context)
    if denied is not None:
        caller = iam_evaluator.caller_arn()
        raise PermissionError(f"User: {caller} is not authorized to perform: {action} on resource: {arn}")


def passing_role(original: Callable[..., Answer]) -> Callable[..., Answer]:
    """AWS lets nobody give a function a role without iam:PassRole on it; MiniStack anybody."""

    def with_role(*args: Any, **kwargs: Any) -> Answer:
        data = args[-1]
        if data.get("Role"):
            try:
                ask("iam:PassRole", data["Role"], {"iam:PassedToService": "lambda.amazonaws.com"})
            except PermissionError as denied:
                return 403, {"x-amzn-ErrorType": "AccessDeniedException"}, json.dumps({"Message": str(denied)}).encode()
        return original(*args, **kwargs)

    return with_role
