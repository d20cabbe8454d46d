"""EventBridge to Lambda and SQS the way AWS does it: with permission, queued, retried, dead letters kept; and to other
regions."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import hooks
from hooks import Answer, Json
from ministack.core import iam_evaluator, responses
from ministack.services import eventbridge, lambda_svc, sqs

log = logging.getLogger("lambda-events")

# How many events of one function run at a time, when it has no reserved concurrency.
DEFAULT_CONCURRENCY = 6

slots: dict[str, threading.BoundedSemaphore] = {}
holding = threading.local()

# Of a target, an event, a rule, and the event as the rule saw it.
InvokeTarget = Callable[[Json, Json, Json, Any], Any]
# Of an ARN and a document.
DispatchToLambda = Callable[[str, str], None]
# Of a parsed ARN, an event, a rule, the buses that the event came by, and the input of the target.
DispatchToEventBus = Callable[[Any, Json, Json, set[str], str | None], None]
# Of a function and an event.
ExecuteFunction = Callable[[Json, Json], Json]


def install() -> None:
    hooks.need(eventbridge, "_rule_arn", "_pattern_event_view", "esm_wake")
    hooks.need(sqs, "_queue_by_arn", "_ensure_msg_fields", "queue_policy_for_arn")
    hooks.need(iam_evaluator, "EvalContext", "evaluate_resource_policy")
    hooks.need(lambda_svc, "function_policy_for_arn", "_get_func_record_for_ref", "_execution_record_for_config")
    hooks.need(lambda_svc, "invoke_async_with_retry")
    hooks.patch(eventbridge, "_invoke_target", ["target", "event", "rule", "view"], with_permission)
    hooks.patch(eventbridge, "_dispatch_to_lambda", ["arn", "payload"], asynchronously)
    parameters = ["spec", "event", "rule", "event_path", "target_input_payload"]
    hooks.patch(eventbridge, "_dispatch_to_event_bus", parameters, to_other_regions)
    hooks.patch(lambda_svc, "_execute_function", ["func", "event"], within_concurrency)
    hooks.patch(lambda_svc, "_get_policy", ["func_name", "query_params", "path_qualifier"], or_none)


def or_none(original: Callable[..., Answer]) -> Callable[..., Answer]:
    """AWS says that a function that nobody may invoke has no policy; MiniStack gives an empty one."""

    def get_policy(*args: Any, **kwargs: Any) -> Answer:
        answer = original(*args, **kwargs)
        if answer[0] == 200 and not json.loads(json.loads(answer[2])["Policy"])["Statement"]:
            message = "The resource you requested does not exist."
            return responses.error_response_json("ResourceNotFoundException", message, 404)
        return answer

    return get_policy


def with_permission(original: InvokeTarget) -> InvokeTarget:
    """AWS delivers only where a policy lets this rule, and keeps what it may not deliver in the target's dead-letter queue.

    MiniStack delivers always, and knows no dead letters of rules.
    """

    def invoke_target(target: Json, event: Json, rule: Json, view: Any = None) -> Any:
        arn = target.get("Arn", "")
        rule_arn = eventbridge._rule_arn(rule["Name"], rule.get("EventBusName", "default"))
        may = {"lambda": may_invoke, "sqs": may_send}.get(arn.split(":")[2] if arn.count(":") > 4 else "")
        if may is None or may(arn, rule_arn):
            return original(target, event, rule, view)
        log.warning("FailedInvocation: rule %s has no permission to deliver to %s", rule["Name"], arn)
        dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn", "")
        if dead_letters and may_send(dead_letters, rule_arn):
            whole = (view or eventbridge._pattern_event_view(event)).event_with_detail()
            told = {"RULE_ARN": rule_arn, "TARGET_ARN": arn, "ERROR_CODE": "NO_PERMISSIONS", "RETRY_ATTEMPTS": "0"}
            keep(dead_letters, json.dumps(whole), told)
        return None

    return invoke_target


def may_invoke(function_arn: str, rule_arn: str) -> bool:
    policy = lambda_svc.function_policy_for_arn(function_arn)
    return bool(policy) and allows(policy[0], "lambda:InvokeFunction", function_arn, rule_arn)


def may_send(queue_arn: str, rule_arn: str) -> bool:
    policy = sqs.queue_policy_for_arn(queue_arn)
    return bool(policy) and allows(policy[0], "sqs:SendMessage", queue_arn, rule_arn)


def allows(policy: Any, action: str, arn: str, rule_arn: str) -> bool:
    account = responses.get_account_id()
    context = iam_evaluator.EvalContext(
        principal_arn="events.amazonaws.com",
        principal_type="Service",
        principal_account=account,
        action=action,
        resource_arn=arn,
        region=responses.get_region(),
        # However the call came of which the event tells.
        secure_transport=True,
        service_context={"aws:sourcearn": rule_arn, "aws:sourceaccount": account},
    )
    verdict = iam_evaluator.evaluate_resource_policy(policy, context, service="events.amazonaws.com")
    return verdict.decision == "Allow"


def keep(queue_arn: str, body: str, told: dict[str, str]) -> None:
    queue, now = sqs._queue_by_arn(queue_arn), time.time()
    message = {
        "id": responses.new_uuid(),
        "body": body,
        "md5_body": hashlib.md5(body.encode()).hexdigest(),
        "sent_at": now,
        "visible_at": now,
        "message_attributes": {name: {"DataType": "String", "StringValue": value} for name, value in told.items()},
    }
    sqs._ensure_msg_fields(message)
    queue["messages"].append(message)
    eventbridge.esm_wake.set()


def asynchronously(_original: DispatchToLambda) -> DispatchToLambda:
    """AWS queues the event, retries what fails, then sends it to the on-failure destination; MiniStack calls once."""

    def dispatch_to_lambda(arn: str, payload: str) -> None:
        function, config, _ = lambda_svc._get_func_record_for_ref(arn)
        if function and config:
            record = lambda_svc._execution_record_for_config(function, config)
            lambda_svc.invoke_async_with_retry(record, json.loads(payload))

    return dispatch_to_lambda


def to_other_regions(original: DispatchToEventBus) -> DispatchToEventBus:
    """AWS sends an event to a bus of another region of the account; MiniStack says that there is none."""

    def dispatch_to_event_bus(
        spec: Any, event: Json, rule: Json, event_path: set[str], target_input_payload: str | None = None
    ) -> None:
        with responses.request_scope(responses.get_account_id(), spec.region):
            return original(spec, event, rule, event_path, target_input_payload)

    return dispatch_to_event_bus


def within_concurrency(original: ExecuteFunction) -> ExecuteFunction:
    """AWS holds events back while a function is at its concurrency; MiniStack starts a process for each."""

    def execute_function(func: Json, event: Json) -> Json:
        # MiniStack calls itself again in the function's account.
        if getattr(holding, "slot", False):
            return original(func, event)
        config = func.get("config") or func
        limit = int(func.get("concurrency") or DEFAULT_CONCURRENCY)
        slot = slots.setdefault(config["FunctionArn"], threading.BoundedSemaphore(limit))
        with slot:
            holding.slot = True
            try:
                return original(func, event)
            finally:
                holding.slot = False

    return execute_function
