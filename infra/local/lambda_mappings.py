"""Queues that are mapped to functions: what Lambda refuses, and that it takes messages with the function's own rights.

Retries are as much faster as those of events are: what a function gives back to its queue comes back sooner.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import hooks
from hooks import Answer, Create, Json, Made
from ministack.core import iam_evaluator, responses
from ministack.services import lambda_svc, sqs
from ministack.services.cloudformation import provisioners

MAPPING = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
NEEDED = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")

# Of the request and the queue's URL.
QueueOperation = Callable[[Json, str], Any]
# Of a mapping, its function, that one's configuration and the queue.
Concurrency = Callable[..., int]


def install() -> None:
    hooks.need(iam_evaluator, "_gather_role_policies", "evaluate", "combine_resource_policy")
    hooks.need(lambda_svc, "_get_func_record_for_ref")
    hooks.need(sqs, "_get_q", "_queue_by_arn", "queue_policy_for_arn")
    hooks.patch(lambda_svc, "_create_esm", ["data"], checked)
    hooks.patch(MAPPING, "create", ["logical_id", "props", "stack_name"], checked_in_template)
    for operation in ("ChangeMessageVisibility", "ChangeMessageVisibilityBatch"):
        hooks.patch(sqs._HANDLERS, operation, ["data", "qurl"], sooner)
    hooks.patch(lambda_svc, "_sqs_esm_concurrency", ["esm", "func_rec", "config", "queue"], with_own_rights)


def checked(original: Callable[[Json], Answer]) -> Callable[[Json], Answer]:
    """AWS maps no queue that the function's role may not read, or that hands messages out again while it still runs."""

    def create_esm(data: Json) -> Answer:
        problem = problem_of(data)
        if problem:
            return responses.error_response_json("InvalidParameterValueException", problem, 400)
        return original(data)

    return create_esm


def checked_in_template(original: Create) -> Create:
    """The same in a template."""

    def mapping_create(logical_id: str, props: Json, stack_name: str) -> Made:
        problem = problem_of(props)
        if problem:
            raise ValueError(f"{problem} (Service: Lambda, Status Code: 400)")
        return original(logical_id, props, stack_name)

    return mapping_create


def problem_of(mapping: Json) -> str | None:
    queue = sqs._queue_by_arn(mapping.get("EventSourceArn", ""))
    _, config, _ = lambda_svc._get_func_record_for_ref(mapping.get("FunctionName", ""))
    if not queue or not config:
        return None
    for action in NEEDED:
        if not may(config, action, queue):
            call = action.removeprefix("sqs:")
            return f"The provided execution role does not have permissions to call {call} on SQS"
    visible, timeout = int(queue["attributes"].get("VisibilityTimeout", "30")), int(config.get("Timeout", 3))
    if visible < timeout:
        return f"Queue visibility timeout: {visible} seconds is less than Function timeout: {timeout} seconds"
    return None


def may(config: Json, action: str, queue: Json) -> bool:
    """Whether the function's role may do this with the queue."""
    arn, account = queue["attributes"]["QueueArn"], responses.get_account_id()
    role = config.get("Role", "").rsplit("/", 1)[-1]
    context = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{role}/{config['FunctionName']}",
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=arn,
        region=responses.get_region(),
        secure_transport=True,
    )
    identity = iam_evaluator.evaluate(context, iam_evaluator._gather_role_policies(role, account))
    policy = sqs.queue_policy_for_arn(arn)
    return iam_evaluator.combine_resource_policy(identity, context, policy and policy[0], account).decision == "Allow"


def sooner(original: QueueOperation) -> QueueOperation:
    """AWS's minute is here what `--retry-seconds` says."""
    part = float(os.environ["LAMBDA_ASYNC_RETRY_BASE_SECONDS"]) / 60

    def change_visibility(data: Json, qurl: str) -> Any:
        answer = original(data, qurl)
        queue = sqs._get_q(data.get("QueueUrl", qurl))
        seconds = {it["ReceiptHandle"]: float(it.get("VisibilityTimeout", 0)) for it in data.get("Entries", [data])}
        for message in queue["messages"]:
            if message.get("receipt_handle") in seconds:
                message["visible_at"] = time.time() + seconds[message["receipt_handle"]] * part
        return answer

    return change_visibility


def with_own_rights(original: Concurrency) -> Concurrency:
    """AWS takes messages with the rights of the function's role, and none without; MiniStack asks nobody."""

    def sqs_esm_concurrency(esm: Json, func_rec: Json, config: Json, queue: Any = None) -> int:
        allowed = queue is None or all(may(config, action, queue) for action in NEEDED)
        return original(esm, func_rec, config, queue) if allowed else 0

    return sqs_esm_concurrency
