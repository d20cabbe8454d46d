"""Policies of tables, which DynamoDB enforces, and what CloudFormation does with a table."""

import json
from collections.abc import Callable
from typing import Any

import hooks
from hooks import Answer, Create, Json, Made, Operation, Update
from ministack.core import iam_evaluator, responses
from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners

TABLE = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]

# The actions that a table's policy may name.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/rbac-iam-actions.html
ACTIONS = {
    f"dynamodb:{it}"
    for it in (
        "BatchGetItem BatchWriteItem ConditionCheckItem CreateBackup DeleteItem DeleteResourcePolicy DeleteTable "
        "DescribeContinuousBackups DescribeContributorInsights DescribeKinesisStreamingDestination DescribeTable "
        "DescribeTableReplicaAutoScaling DescribeTimeToLive DisableKinesisStreamingDestination "
        "EnableKinesisStreamingDestination ExportTableToPointInTime GetItem GetResourcePolicy ListTagsOfResource "
        "PartiQLDelete PartiQLInsert PartiQLSelect PartiQLUpdate PutItem PutResourcePolicy Query "
        "RestoreTableToPointInTime Scan TagResource UntagResource UpdateContinuousBackups UpdateContributorInsights "
        "UpdateItem UpdateKinesisStreamingDestination UpdateTable UpdateTableReplicaAutoScaling UpdateTimeToLive"
    ).split()
}
MOST_BYTES = 20_480

# Of the physical id and the properties in the template.
DeleteTable = Callable[[str, Json], None]


def install() -> None:
    hooks.need(
        dynamodb, "_resource_policies", "_pitr_settings", "_tables", "_table_name_from_arn", "error_response_json"
    )
    hooks.need(iam_evaluator, "_RESOURCE_POLICY_LOOKUPS")
    # It looks such a function up by its name.
    dynamodb.__dict__["table_policy_for_arn"] = table_policy
    iam_evaluator._RESOURCE_POLICY_LOOKUPS["dynamodb"] = ("dynamodb", "table_policy_for_arn")
    hooks.patch(dynamodb, "_put_resource_policy", ["data"], with_policy_checked)
    hooks.patch(TABLE, "create", ["logical_id", "props", "stack_name"], with_settings_created)
    parameters = ["physical_id", "old_props", "new_props", "stack_name", "logical_id"]
    hooks.patch(TABLE, "update", parameters, with_settings_updated)
    hooks.patch(TABLE, "delete", ["physical_id", "props"], unless_protected)


def table_policy(arn: str) -> tuple[str, str] | None:
    """A table's policy and owner; DynamoDB enforces it, and MiniStack only keeps it."""
    table = dynamodb._tables.get(dynamodb._table_name_from_arn(arn))
    if table is None:
        return None
    return dynamodb._resource_policies.get(table["TableArn"], {}).get("Policy", ""), responses.get_account_id()


def fault(policy: str) -> str | None:
    """What DynamoDB says of a policy that it does not take."""
    if len(policy.encode()) > MOST_BYTES:
        return f"Maximum policy size of {MOST_BYTES} bytes exceeded"
    try:
        statements: Any = json.loads(policy)["Statement"]
    except (ValueError, KeyError, TypeError):
        return "Invalid policy document: This policy contains invalid Json"
    if not statements:
        return "Invalid policy document: Could not parse the policy: Statement is empty!"
    for statement in statements if isinstance(statements, list) else [statements]:
        if "Resource" not in statement:
            return "Invalid policy document: Missing required field Resource"
        actions = statement.get("Action", [])
        actions = actions if isinstance(actions, list) else [actions]
        unknown = [it for it in actions if "*" not in it and it not in ACTIONS]
        if unknown:
            names = ", ".join(f'"{it}"' for it in unknown)
            return f"Invalid policy document: The following action names are invalid: {names}"
    return None


def with_policy_checked(original: Operation) -> Operation:
    """DynamoDB refuses a policy with an action that no table has; MiniStack stores it."""

    def put_resource_policy(data: Json) -> Answer:
        found = fault(data.get("Policy") or "{}")
        if found:
            message = f"One or more parameter values were invalid: {found}"
            return dynamodb.error_response_json("ValidationException", message, 400)
        return original(data)

    return put_resource_policy


def with_settings_created(original: Create) -> Create:
    """CloudFormation gives a table the policy and the recovery that the template has; MiniStack forgets them."""

    def table_create(logical_id: str, props: Json, stack_name: str) -> Made:
        # Before the table is made.
        policy_of(props)
        made = original(logical_id, props, stack_name)
        apply(made, {}, props)
        return made

    return table_create


def with_settings_updated(original: Update) -> Update:
    """The same when the template changes. A policy that does not change in it is not written."""

    def table_update(
        physical_id: str, old_props: Json, new_props: Json, stack_name: str, logical_id: str | None = None
    ) -> Made:
        made = original(physical_id, old_props, new_props, stack_name, logical_id)
        apply(made, old_props, new_props)
        return made

    return table_update


def policy_of(props: Json) -> str:
    document = props.get("ResourcePolicy", {}).get("PolicyDocument")
    policy = json.dumps(document, separators=(",", ":")) if document else ""
    found = fault(policy) if policy else None
    if found:
        raise ValueError(f"One or more parameter values were invalid: {found}")
    return policy


def apply(made: Made, old_props: Json, new_props: Json) -> None:
    name, attributes = made
    recovery = new_props.get("PointInTimeRecoverySpecification", {})
    dynamodb._pitr_settings[name] = bool(recovery.get("PointInTimeRecoveryEnabled"))
    policy = policy_of(new_props)
    if policy == policy_of(old_props):
        return
    if policy:
        dynamodb._put_resource_policy({"ResourceArn": attributes["Arn"], "Policy": policy})
    else:
        dynamodb._resource_policies.pop(attributes["Arn"], None)


def unless_protected(original: DeleteTable) -> DeleteTable:
    """CloudFormation fails at a table that is protected against deletion; MiniStack deletes it, and keeps its policy."""

    def table_delete(physical_id: str, props: Json) -> None:
        table = dynamodb._tables.get(physical_id)
        if table and table.get("DeletionProtectionEnabled"):
            raise ValueError(
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection "
                f"first. (Table: {physical_id})"
            )
        if table:
            dynamodb._resource_policies.pop(table["TableArn"], None)
            dynamodb._pitr_settings.pop(physical_id, None)
        original(physical_id, props)

    return table_delete
