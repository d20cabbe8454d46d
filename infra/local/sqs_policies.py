"""Queue policies that SQS refuses and MiniStack stores."""

import json
from collections.abc import Callable
from typing import Any

import hooks
from hooks import Create, Json, Made
from ministack.core import responses
from ministack.services import sqs
from ministack.services.cloudformation import provisioners

# Of the request and the queue's URL.
QueueOperation = Callable[[Json, str], Any]
UpdatePolicy = Callable[[str, Json, Json, str], Made]

QUEUE_POLICY = provisioners._RESOURCE_HANDLERS["AWS::SQS::QueuePolicy"]


def install() -> None:
    hooks.need(sqs, "_Err", "_get_q", "_queues")
    hooks.patch(sqs._HANDLERS, "CreateQueue", ["data", "_u"], with_policy_checked_at_create)
    hooks.patch(sqs._HANDLERS, "SetQueueAttributes", ["data", "qurl"], with_policy_checked)
    hooks.patch(QUEUE_POLICY, "create", ["logical_id", "props", "stack_name"], with_policy_created)
    parameters = ["physical_id", "old_props", "new_props", "stack_name"]
    hooks.patch(QUEUE_POLICY, "update", parameters, with_policy_updated)


def check(queue_arn: str, policy: str | Json | None) -> None:
    """A policy is one queue's: each of its statements names that queue and nothing else."""
    document = json.loads(policy) if isinstance(policy, str) and policy else policy or {}
    statements = document.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        if statement.get("Resource") not in ("*", queue_arn, [queue_arn]):
            raise sqs._Err("InvalidAttributeValue", "Invalid value for the parameter Policy.", 400)


def with_policy_checked_at_create(original: QueueOperation) -> QueueOperation:
    """AWS refuses a policy that is about another queue; MiniStack stores it."""

    def create_queue(data: Json, _u: str) -> Any:
        arn = f"arn:aws:sqs:{responses.get_region()}:{responses.get_account_id()}:{data.get('QueueName', '')}"
        check(arn, (data.get("Attributes") or {}).get("Policy"))
        return original(data, _u)

    return create_queue


def with_policy_checked(original: QueueOperation) -> QueueOperation:
    """The same for a queue that is there."""

    def set_queue_attributes(data: Json, qurl: str) -> Any:
        queue = sqs._get_q(data.get("QueueUrl", qurl), "sqs:SetQueueAttributes")
        check(queue["attributes"]["QueueArn"], (data.get("Attributes") or {}).get("Policy"))
        return original(data, qurl)

    return set_queue_attributes


def with_policy_created(original: Create) -> Create:
    """The same in a template, for each queue that the policy is put on."""

    def queue_policy_create(logical_id: str, props: Json, stack_name: str) -> Made:
        check_all(props)
        return original(logical_id, props, stack_name)

    return queue_policy_create


def with_policy_updated(original: UpdatePolicy) -> UpdatePolicy:
    """The same when the template changes."""

    def queue_policy_update(physical_id: str, old_props: Json, new_props: Json, stack_name: str) -> Made:
        check_all(new_props)
        return original(physical_id, old_props, new_props, stack_name)

    return queue_policy_update


def check_all(props: Json) -> None:
    for url in props.get("Queues", []):
        queue = sqs._queues.get(url)
        if queue:
            check(queue["attributes"]["QueueArn"], props.get("PolicyDocument"))
