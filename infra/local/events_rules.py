"""Rules that EventBridge refuses and MiniStack takes."""

import json
from collections.abc import Callable

import events_patterns
import hooks
from hooks import Answer, Create, Json, Made, Operation
from ministack.core import responses
from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners

RULE = "AWS::Events::Rule"


def install() -> None:
    hooks.need(eventbridge, "_rule_key", "_targets")
    hooks.patch(eventbridge, "_event_pattern_error", ["pattern_str"], with_limits)
    hooks.patch(eventbridge, "_delete_rule", ["data"], with_targets_kept)
    hooks.patch(provisioners, "_eb_rule_create", ["logical_id", "props", "stack_name"], with_pattern_checked)
    provisioners._RESOURCE_HANDLERS[RULE]["create"] = provisioners._eb_rule_create


def with_limits(original: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """AWS takes no pattern that is too long, or has too many wildcards; MiniStack takes any that is well formed."""

    def event_pattern_error(pattern_str: str) -> str | None:
        return original(pattern_str) or (events_patterns.problem(pattern_str) if pattern_str else None)

    return event_pattern_error


def with_targets_kept(original: Operation) -> Operation:
    """AWS deletes no rule that has targets; MiniStack deletes them with it."""

    def delete_rule(data: Json) -> Answer:
        if eventbridge._targets.get(eventbridge._rule_key(data.get("Name"), data.get("EventBusName", "default"))):
            message = "Rule can't be deleted since it has targets."
            return responses.error_response_json("ValidationException", message, 400)
        return original(data)

    return delete_rule


def with_pattern_checked(original: Create) -> Create:
    """AWS holds a rule in a template to the same; MiniStack, when it creates one, to nothing."""

    def rule_create(logical_id: str, props: Json, stack_name: str) -> Made:
        pattern = props.get("EventPattern")
        text = pattern if isinstance(pattern, str) else json.dumps(pattern, separators=(",", ":")) if pattern else ""
        problem = eventbridge._event_pattern_error(text)
        if problem:
            raise ValueError(f"Event pattern is not valid. Reason: {problem} (InvalidEventPatternException)")
        return original(logical_id, props, stack_name)

    return rule_create
