"""Templates and resources that CloudFormation refuses and MiniStack takes."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import hooks
from hooks import Create, Delete, Json, Made, Update
from ministack.services import cloudwatch, cloudwatch_logs, dynamodb, eventbridge, iam, kms, lambda_svc, sns, sqs, ssm
from ministack.services.cloudformation import _stacks, changesets, engine, handlers, provisioners, stacks

RULE = "AWS::Events::Rule"
# How long CloudFormation takes for a resource; on AWS some seconds.
SECONDS = 0.03

# Of type, logical id, properties and stack.
Provision = Callable[[str, str, Json, str], Made]

# Types with names that people choose: the property, and whether something has that name already.
# Names of roles are known in all regions of an account, all others in their own.
NAMED: dict[str, tuple[str, Callable[[str], bool]]] = {
    "AWS::CloudWatch::Alarm": ("AlarmName", lambda it: it in cloudwatch._alarms),
    "AWS::CloudWatch::Dashboard": ("DashboardName", lambda it: it in cloudwatch._dashboards),
    "AWS::DynamoDB::Table": ("TableName", lambda it: it in dynamodb._tables),
    RULE: ("Name", lambda it: eventbridge._rule_key(it, "default") in eventbridge._rules),
    "AWS::IAM::Role": ("RoleName", lambda it: it in iam._roles),
    "AWS::KMS::Alias": ("AliasName", lambda it: kms._alias_arn(it) in kms._aliases),
    "AWS::Lambda::Function": ("FunctionName", lambda it: it in lambda_svc._functions),
    "AWS::Logs::LogGroup": ("LogGroupName", lambda it: it in cloudwatch_logs._log_groups),
    "AWS::SNS::Topic": ("TopicName", lambda it: any(arn.endswith(f":{it}") for arn in sns._topics)),
    "AWS::SQS::Queue": ("QueueName", lambda it: it in sqs._queue_name_to_url),
    "AWS::SSM::Parameter": ("Name", lambda it: it in ssm._parameters),
}


def install() -> None:
    for reader in (engine, handlers, changesets):
        hooks.patch(reader, "_parse_template", ["template_body"], without_null)
    hooks.need(eventbridge, "_rule_key", "_targets")
    hooks.patch(stacks, "_runs_on_worker_thread", ["resource_type"], lambda _original: lambda _resource_type: True)
    parameters = ["resource_type", "logical_id", "props", "stack_name"]
    hooks.patch(stacks, "_provision_resource", parameters, unless_it_exists)
    parameters = ["resource_type", "physical_id", "props", "stack_name", "logical_id"]
    hooks.patch(stacks, "_delete_resource", parameters, under_everybodys_eyes)
    role = provisioners._RESOURCE_HANDLERS["AWS::IAM::Role"]
    hooks.patch(role, "create", ["logical_id", "props", "stack_name"], with_boundary_created)
    parameters = ["physical_id", "old_props", "new_props", "stack_name", "logical_id"]
    hooks.patch(role, "update", parameters, with_boundary_updated)


def with_boundary_created(original: Create) -> Create:
    """AWS gives a role the permissions boundary of the template; MiniStack none."""

    def role_create(logical_id: str, props: Json, stack_name: str) -> Made:
        created = original(logical_id, props, stack_name)
        iam._roles[created[0]]["PermissionsBoundary"] = props.get("PermissionsBoundary")
        return created

    return role_create


def with_boundary_updated(original: Update) -> Update:
    """The same when the template changes."""

    def role_update(
        physical_id: str, old_props: Json, new_props: Json, stack_name: str, logical_id: str | None = None
    ) -> Made:
        updated = original(physical_id, old_props, new_props, stack_name, logical_id)
        iam._roles[updated[0]]["PermissionsBoundary"] = new_props.get("PermissionsBoundary")
        return updated

    return role_update


def without_null(original: Callable[[str], Json]) -> Callable[[str], Json]:
    """AWS takes no template with a null in it, wherever it is; MiniStack hands it on."""

    def parse_template(template_body: str) -> Json:
        template = original(template_body)
        for path in nulls(template, ""):
            raise ValueError(f"[{path}] 'null' values are not allowed in templates")
        return template

    return parse_template


def nulls(value: Any, path: str) -> Iterator[str]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from nulls(inner, f"{path}/{name}")
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from nulls(inner, f"{path}/{n}")


def unless_it_exists(original: Provision) -> Provision:
    """AWS creates nothing whose name is taken, and the stack rolls back; MiniStack makes it the stack's own.

    AWS takes its time, in which others go on; MiniStack lets nobody else in until the stack is there.
    """

    def provision_resource(resource_type: str, logical_id: str, props: Json, stack_name: str) -> Made:
        named, exists = NAMED.get(resource_type, ("", lambda _: False))
        name = props.get(named)
        if isinstance(name, str) and exists(name):
            raise ValueError(
                f"Resource handler returned message: \"Resource of type '{resource_type}' with identifier '{name}' "
                'already exists." (HandlerErrorCode: AlreadyExists)'
            )
        created = original(resource_type, logical_id, props, stack_name)
        time.sleep(SECONDS)
        return created

    return provision_resource


def under_everybodys_eyes(original: Delete) -> Delete:
    """AWS shows what it is deleting, and takes a rule's targets away before the rule; MiniStack does it at one stroke."""

    def delete_resource(
        resource_type: str, physical_id: str, props: Json, stack_name: str | None = None, logical_id: str | None = None
    ) -> None:
        resource = _stacks.get(stack_name, {}).get("_resources", {}).get(logical_id)
        if resource:
            resource["ResourceStatus"] = "DELETE_IN_PROGRESS"
        if resource_type == RULE:
            key = eventbridge._rule_key(physical_id, "default")
            eventbridge._targets.pop(key, None)
            time.sleep(10 * SECONDS)
            if eventbridge._targets.get(key):
                raise ValueError("Rule can't be deleted since it has targets.")
        original(resource_type, physical_id, props, stack_name, logical_id)
        time.sleep(SECONDS)

    return delete_resource
