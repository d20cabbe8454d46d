"""Change sets that revert drift, and the drift of resource types that MiniStack cannot compare.

As on AWS, only properties that the template sets are compared, and AWS::SQS::QueuePolicy, AWS::SNS::TopicPolicy and a
table's policy not at all: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
"""

import json
import re
from collections.abc import Callable
from typing import Any

import hooks
import iam_on_behalf
from hooks import AnyAnswer, Json, Made, Query
from ministack.core import responses
from ministack.services import cloudwatch, dynamodb, eventbridge, kms, lambda_svc, sns
from ministack.services import iam as roles
from ministack.services.cloudformation import _change_sets, _stacks, drift, handlers, provisioners, stacks

MODE = "REVERT_DRIFT"

# Of the form that CloudFormation was called with.
Action = Callable[[Query], AnyAnswer]
# Of a physical id and the properties in the template: the properties that are there, None when nothing is.
Reader = Callable[[str, Json], Json | None]
# What makes a resource, or changes one.
Handled = Callable[..., Made]


def install() -> None:
    hooks.need(drift, "_DRIFT_READERS", "_json_or", "detect_resource_drift")
    hooks.need(kms, "_resolve_key", "_aliases", "_alias_arn")
    hooks.need(lambda_svc, "_esms", "_event_invoke_config", "_functions")
    for resource_type, (read, properties) in readers().items():
        drift._DRIFT_READERS[resource_type] = read, frozenset(properties.split())
    for name, make in {"CreateChangeSet": finding_drift, "DescribeChangeSet": telling_drift}.items():
        hooks.patch(handlers._ACTION_HANDLERS, name, ["params"], make)
    hooks.patch(handlers._ACTION_HANDLERS, "ExecuteChangeSet", ["params"], remembering_drift)
    hooks.patch(stacks, "_update_keeping_seed", ["args"], reverting_drift)
    for resource_type, after_each in {"AWS::IAM::Role": with_boundary, "AWS::SNS::Topic": with_key}.items():
        handler = provisioners._RESOURCE_HANDLERS[resource_type]
        hooks.patch(handler, "create", ["logical_id", "props", "stack_name"], after_each("create"))
        update = ["physical_id", "old_props", "new_props", "stack_name", "logical_id"]
        hooks.patch(handler, "update", update, after_each("update"))


def finding_drift(original: Action) -> Action:
    """AWS compares the template with what is there, when it is asked to; MiniStack ignores the request."""

    def create_change_set(params: Query) -> AnyAnswer:
        answer = original(params)
        mode = (params.get("DeploymentMode") or [""])[0]
        if answer[0] != 200 or mode != MODE:
            return answer
        [found] = re.findall(r"<Id>(.*?)</Id>", text_of(answer))
        change_set = _change_sets[found]
        stack = _stacks[change_set["StackName"]]
        try:
            change_set["_drifts"] = drifts_of(stack)
        except PermissionError as denied:
            change_set.update(Status="FAILED", ExecutionStatus="UNAVAILABLE", StatusReason=str(denied))
            return answer
        changes = {it["ResourceChange"]["LogicalResourceId"]: it for it in change_set["Changes"]}
        for logical_id, it in change_set["_drifts"].items():
            changes.setdefault(logical_id, {"ResourceChange": change_of(it)})
            changes[logical_id]["ResourceChange"]["ResourceDriftStatus"] = it["StackResourceDriftStatus"]
        change_set["Changes"] = list(changes.values())
        if change_set["Changes"]:
            change_set.update(Status="CREATE_COMPLETE", ExecutionStatus="AVAILABLE", StatusReason="")
        return answer

    return create_change_set


def text_of(answer: AnyAnswer) -> str:
    return answer[2].decode() if isinstance(answer[2], bytes) else answer[2]


def drifts_of(stack: Json) -> dict[str, Json]:
    """What differs from the template, by logical id."""
    found = {}
    for logical_id, record in stack["_resources"].items():
        resource_type, physical_id = record["ResourceType"], record["PhysicalResourceId"]
        if not drift.supports_drift(resource_type):
            continue
        iam_on_behalf.authorize(resource_type, "read", physical_id, record["Properties"])
        result = drift.detect_resource_drift(stack, logical_id, record, responses.now_iso())
        if result["StackResourceDriftStatus"] in ("MODIFIED", "DELETED"):
            found[logical_id] = result
    return found


def change_of(found: Json) -> Json:
    deleted = found["StackResourceDriftStatus"] == "DELETED"
    names = sorted({it["PropertyPath"].split("/")[1] for it in found.get("PropertyDifferences", [])})
    return {
        "Action": "Add" if deleted else "Modify",
        "LogicalResourceId": found["LogicalResourceId"],
        "PhysicalResourceId": found["PhysicalResourceId"],
        "ResourceType": found["ResourceType"],
        "Scope": [] if deleted else ["Properties"],
        "Details": [{"Target": {"Attribute": "Properties", "Name": name}, "Evaluation": "Static"} for name in names],
    }


def telling_drift(original: Action) -> Action:
    """AWS tells the mode, and of each resource that the change set would touch whether it has drifted."""

    def describe_change_set(params: Query) -> AnyAnswer:
        status, headers, body = original(params)
        text = text_of((status, headers, body))
        found = re.search(r"<ChangeSetId>(.*?)</ChangeSetId>", text)
        change_set = _change_sets.get(found.group(1)) if found else None
        if not change_set or "_drifts" not in change_set:
            return status, headers, body
        text = text.replace("<ChangeSetId>", f"<DeploymentMode>{MODE}</DeploymentMode><ChangeSetId>", 1)
        for change in change_set["Changes"]:
            change = change["ResourceChange"]
            tag = f"<LogicalResourceId>{change['LogicalResourceId']}</LogicalResourceId>"
            drifted = change.get("ResourceDriftStatus", "IN_SYNC")
            text = text.replace(tag, f"{tag}<ResourceDriftStatus>{drifted}</ResourceDriftStatus>")
        return status, headers, text.encode()

    return describe_change_set


def remembering_drift(original: Action) -> Action:
    """The operation that MiniStack starts knows the stack, not the change set."""

    def execute_change_set(params: Query) -> AnyAnswer:
        name, stack_name = (params.get(it, [""])[0] for it in ("ChangeSetName", "StackName"))
        for change_set in list(_change_sets.values()):
            if name in (change_set["ChangeSetId"], change_set["ChangeSetName"]) and stack_name in (
                "",
                change_set["StackName"],
                change_set["StackId"],
            ):
                _stacks[change_set["StackName"]]["_reverts"] = dict(change_set.get("_drifts", {}))
        return original(params)

    return execute_change_set


def reverting_drift(original: Callable[..., Any]) -> Callable[..., Any]:
    """AWS makes again what was deleted and writes what differs; MiniStack sees two equal templates and does nothing."""

    def update_keeping_seed(*args: Any) -> Any:
        resource_type, physical_id, old, new, stack_name, logical_id, attributes = args
        found = _stacks[stack_name].get("_reverts", {}).pop(logical_id, None)
        if found is None:
            return original(*args)
        if found["StackResourceDriftStatus"] == "DELETED":
            return stacks._provision_keeping_seed(resource_type, logical_id, new, stack_name)
        compared, actual = json.loads(found["ExpectedProperties"]), json.loads(found["ActualProperties"])
        there = {name: value for name, value in old.items() if name not in compared} | actual
        return original(resource_type, physical_id, there, new, stack_name, logical_id, attributes)

    return update_keeping_seed


def readers() -> dict[str, tuple[Reader, str]]:
    """Of each type: what reads it, and the properties that are then compared. None is read of what is only there or not."""
    role, _ = drift._DRIFT_READERS["AWS::IAM::Role"]
    topic, of_topic = drift._DRIFT_READERS["AWS::SNS::Topic"]
    queue, of_queue = drift._DRIFT_READERS["AWS::SQS::Queue"]
    group, of_group = drift._DRIFT_READERS["AWS::Logs::LogGroup"]
    table, of_table = drift._DRIFT_READERS["AWS::DynamoDB::Table"]

    def also(read: Reader, record_of: Callable[[str], Json], names: dict[str, str]) -> Reader:
        """What MiniStack reads, and more from the service's own record."""

        def read_more(physical_id: str, props: Json) -> Json | None:
            found = read(physical_id, props)
            if found is not None:
                record = record_of(physical_id)
                found |= {name: record[key] for name, key in names.items() if record.get(key) not in (None, "")}
            return found

        return read_more

    def recovery_of(name: str) -> Json:
        return {"recovery": {"PointInTimeRecoveryEnabled": dynamodb._pitr_settings.get(name, False)}}

    def attributes_of(store: dict[str, Json]) -> Callable[[str], Json]:
        return lambda physical_id: store[physical_id]["attributes"]

    sqs_queues, log_groups = provisioners._sqs._queues, provisioners._cw_logs._log_groups
    return {
        "AWS::IAM::Role": (
            role_reader(role),
            "RoleName Path AssumeRolePolicyDocument Policies ManagedPolicyArns PermissionsBoundary Tags",
        ),
        "AWS::SNS::Topic": (
            also(topic, attributes_of(sns._topics), {"KmsMasterKeyId": "KmsMasterKeyId"}),
            " ".join([*of_topic, "KmsMasterKeyId"]),
        ),
        "AWS::SQS::Queue": (
            also(queue, attributes_of(sqs_queues), {"SqsManagedSseEnabled": "SqsManagedSseEnabled"}),
            " ".join([*of_queue, "SqsManagedSseEnabled"]),
        ),
        "AWS::DynamoDB::Table": (
            also(table, recovery_of, {"PointInTimeRecoverySpecification": "recovery"}),
            " ".join([*of_table, "PointInTimeRecoverySpecification"]),
        ),
        "AWS::Logs::LogGroup": (
            also(group, lambda physical_id: log_groups[physical_id], {"KmsKeyId": "kmsKeyId"}),
            " ".join([*of_group, "KmsKeyId"]),
        ),
        "AWS::Events::Rule": (read_rule, "Description EventPattern RoleArn ScheduleExpression State Targets"),
        "AWS::KMS::Key": (read_key, "Description Enabled EnableKeyRotation KeyPolicy"),
        "AWS::KMS::Alias": (read_alias, "TargetKeyId"),
        "AWS::Lambda::Permission": (read_permission, ""),
        "AWS::Lambda::EventInvokeConfig": (
            read_invoke_config,
            "DestinationConfig MaximumEventAgeInSeconds MaximumRetryAttempts",
        ),
        "AWS::Lambda::EventSourceMapping": (
            lambda physical_id, _: lambda_svc._esms.get(physical_id),
            "BatchSize Enabled FunctionResponseTypes MaximumBatchingWindowInSeconds ScalingConfig",
        ),
        "AWS::CloudWatch::Alarm": (
            read_alarm,
            "ActionsEnabled AlarmActions AlarmDescription ComparisonOperator Dimensions EvaluationPeriods MetricName "
            "Namespace Period Statistic Threshold TreatMissingData",
        ),
        "AWS::CloudWatch::Dashboard": (
            lambda physical_id, _: cloudwatch._dashboards.get(physical_id),
            "DashboardBody",
        ),
    }


def role_reader(read: Reader) -> Reader:
    def read_role(physical_id: str, props: Json) -> Json | None:
        found = read(physical_id, props)
        if found is not None:
            role = roles._roles[physical_id]
            policies = role["InlinePolicies"].items()
            found["Policies"] = [{"PolicyName": name, "PolicyDocument": drift._json_or(it)} for name, it in policies]
            found["ManagedPolicyArns"] = list(role["AttachedPolicies"])
            if role.get("PermissionsBoundary"):
                found["PermissionsBoundary"] = role["PermissionsBoundary"]
        return found

    return read_role


def read_rule(physical_id: str, props: Json) -> Json | None:
    key = eventbridge._rule_key(physical_id, provisioners._eb_rule_bus_name(props))
    rule = eventbridge._rules.get(key)
    if rule is None:
        return None
    found = {name: value for name, value in rule.items() if value}
    return found | {
        "EventPattern": drift._json_or(rule.get("EventPattern", "")),
        "Targets": eventbridge._targets.get(key, []),
    }


def read_key(physical_id: str, _props: Json) -> Json | None:
    key = kms._resolve_key(physical_id)
    if key is None:
        return None
    return {
        "Description": key.get("Description", ""),
        "Enabled": key["KeyState"] == "Enabled",
        "EnableKeyRotation": key.get("KeyRotationEnabled", False),
        "KeyPolicy": drift._json_or(key["Policy"]),
    }


def read_alias(physical_id: str, _props: Json) -> Json | None:
    target = kms._aliases.get(kms._alias_arn(physical_id))
    return {"TargetKeyId": target} if target else None


def read_permission(physical_id: str, props: Json) -> Json | None:
    function, *_ = provisioners._lambda_function_for_cfn_ref(props["FunctionName"])
    statements = function["policy"]["Statement"] if function else []
    return {} if any(it["Sid"] == physical_id for it in statements) else None


def read_invoke_config(_physical_id: str, props: Json) -> Json | None:
    function, *_ = provisioners._lambda_function_for_cfn_ref(props["FunctionName"])
    return lambda_svc._event_invoke_config(function, props["Qualifier"]) if function else None


def read_alarm(physical_id: str, _props: Json) -> Json | None:
    alarm = cloudwatch._alarms.get(physical_id)
    if alarm is None:
        return None
    # A threshold of 1 comes back as 1.0.
    threshold = alarm["Threshold"]
    return alarm | {"Threshold": int(threshold) if threshold == int(threshold) else threshold}


def with_boundary(operation: str) -> Callable[[Handled], Handled]:
    """CloudFormation gives a role the boundary that the template names; MiniStack forgets it."""

    def apply(props: Json, made: Made) -> Made:
        roles._roles[made[0]]["PermissionsBoundary"] = props.get("PermissionsBoundary")
        return made

    return after(operation, apply)


def with_key(operation: str) -> Callable[[Handled], Handled]:
    """CloudFormation gives a topic the key that the template names; MiniStack forgets it."""

    def apply(props: Json, made: Made) -> Made:
        if props.get("KmsMasterKeyId"):
            sns._topics[made[0]]["attributes"]["KmsMasterKeyId"] = props["KmsMasterKeyId"]
        return made

    return after(operation, apply)


def after(operation: str, apply: Callable[[Json, Made], Made]) -> Callable[[Handled], Handled]:
    def make(original: Handled) -> Handled:
        def create(logical_id: str, props: Json, stack_name: str) -> Made:
            return apply(props, original(logical_id, props, stack_name))

        def update(
            physical_id: str, old_props: Json, new_props: Json, stack_name: str, logical_id: str | None = None
        ) -> Made:
            return apply(new_props, original(physical_id, old_props, new_props, stack_name, logical_id))

        return create if operation == "create" else update

    return make
