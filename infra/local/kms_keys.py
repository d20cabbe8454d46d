"""What a key answers in each of its states, by what it is for and where its material is from."""

import json
from collections.abc import Callable
from typing import Any

import hooks
import s3_policies
from hooks import Answer, Json, Operation
from ministack.core import responses
from ministack.services import kms

MAX_POLICY_BYTES = 32 * 1024
CUSTOM_STORES = ("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")
PENDING_DELETION = ("PendingDeletion", "PendingReplicaDeletion")
# An administrator who tags a key with this puts it into a state that only AWS can: Unavailable, Updating, ...
STATE_TAG = "local-aws:state"


def install() -> None:
    hooks.need(kms, "_check_key_state", "_key_metadata", "_resolve_key")
    for name in (
        "_cancel_key_deletion",
        "_create_alias",
        "_delete_imported_key_material",
        "_describe_key",
        "_disable_key",
        "_disable_key_rotation",
        "_enable_key",
        "_enable_key_rotation",
        "_get_key_policy",
        "_get_key_rotation_status",
        "_list_resource_tags",
        "_put_key_policy",
        "_schedule_key_deletion",
        "_update_alias",
    ):
        hooks.patch(kms, name, ["data"], with_states_and_regions(name.removeprefix("_")))
    hooks.patch(kms, "_create_key", ["data"], with_custom_stores_and_checked_policy)
    hooks.patch(kms, "_get_key_policy", ["data"], with_lists_reordered)
    hooks.patch(kms, "_get_key_rotation_status", ["data"], with_rotation_hidden_while_pending)
    hooks.patch(kms, "_tag_resource", ["data"], with_states_by_tag)
    hooks.patch(kms, "_check_key_state", ["rec"], with_all_states)


def refused(code: str, message: str) -> Answer:
    return responses.error_response_json(code, message, 400)


def with_states_and_regions(operation: str) -> Callable[[Operation], Operation]:
    """AWS refuses what the state, the origin or the kind of a key does not allow; MiniStack does it."""

    def make(original: Operation) -> Operation:
        def call(data: Json) -> Answer:
            named = data.get("KeyId") or data.get("TargetKeyId") or ""
            parts = named.split(":")
            if named.startswith("arn:") and len(parts) > 3 and parts[3] != responses.get_region():
                return refused("NotFoundException", f"Invalid arn {parts[3]}")
            key = kms._resolve_key(named)
            return (key and refusal(operation, key, data)) or original(data)

        return call

    return make


def refusal(operation: str, key: Json, data: Json) -> Answer | None:
    """After the table of https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html"""
    state, arn = key["KeyState"], key["Arn"]
    pending = state in PENDING_DELETION
    wrong_state = refused("KMSInvalidStateException", f"{arn} is {words(state)}.")
    if operation == "cancel_key_deletion" and not pending:
        return refused("KMSInvalidStateException", f"{arn} is not pending deletion (or pending replica deletion).")
    if operation in ("schedule_key_deletion", "create_alias", "update_alias", "put_key_policy") and pending:
        return wrong_state
    if operation in ("enable_key", "disable_key"):
        # Of an unavailable key, KMS takes both, and nothing changes until its store is back.
        if state == "Unavailable":
            return responses.json_response({})
        if state not in ("Enabled", "Disabled"):
            return wrong_state
    if operation.endswith("_key_rotation") or operation == "get_key_rotation_status":
        if key["KeySpec"] != "SYMMETRIC_DEFAULT":
            return refused("UnsupportedOperationException", f"{arn} is not symmetric.")
        if key["Origin"] != "AWS_KMS":
            message = f"{arn} origin is {key['Origin']} which is not valid for this operation."
            return refused("UnsupportedOperationException", message)
    if operation in ("enable_key_rotation", "disable_key_rotation"):
        if state == "Disabled":
            return refused("DisabledException", f"{arn} is disabled.")
        if state != "Enabled":
            return wrong_state
    if operation == "put_key_policy":
        return policy_refusal(data.get("Policy", ""))
    return None


def words(state: str) -> str:
    if state in PENDING_DELETION:
        return "pending deletion (or pending replica deletion)"
    return {"PendingImport": "pending import"}.get(state, state.lower())


def policy_refusal(policy: str) -> Answer | None:
    if len(policy.encode()) > MAX_POLICY_BYTES:
        return refused("LimitExceededException", "The key policy is too long.")
    try:
        statements = s3_policies.listed(json.loads(policy)["Statement"])
    except (ValueError, KeyError, TypeError):
        return refused("MalformedPolicyDocumentException", "The new key policy is not a policy.")
    if all(s3_policies.principals_exist(it[e]) for it in statements for e in ("Principal", "NotPrincipal") if e in it):
        return None
    return refused(
        "MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals."
    )


def with_custom_stores_and_checked_policy(original: Operation) -> Operation:
    """AWS makes keys in custom key stores, too, and checks the policy; here any id of a store is one."""

    def create_key(data: Json) -> Answer:
        problem = "Policy" in data and policy_refusal(data["Policy"])
        if problem:
            return problem
        origin = data.get("Origin")
        if origin not in CUSTOM_STORES:
            return original(data)
        if not data.get("CustomKeyStoreId"):
            return refused("ValidationException", f"A key of {origin} needs a CustomKeyStoreId.")
        status, headers, body = original({**data, "Origin": "AWS_KMS"})
        if status == 200:
            key = kms._resolve_key(json.loads(body)["KeyMetadata"]["KeyId"])
            key["Origin"] = origin
            body = responses.json_response({"KeyMetadata": kms._key_metadata(key)})[2]
        return status, headers, body

    return create_key


def with_lists_reordered(original: Operation) -> Operation:
    """AWS gives lists of a key policy back in another order, and no lists of one; MiniStack as they were put."""

    def get_key_policy(data: Json) -> Answer:
        status, headers, body = original(data)
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        policy = json.loads(answer["Policy"])
        for statement in s3_policies.listed(policy["Statement"]):
            for element in ("Principal", "NotPrincipal", "Action", "NotAction"):
                if element in statement:
                    statement[element] = reordered(statement[element])
        return responses.json_response({**answer, "Policy": json.dumps(policy)})

    return get_key_policy


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {kind: reordered(it) for kind, it in value.items()}
    if isinstance(value, list):
        return value[0] if len(value) == 1 else value[::-1]
    return value


def with_rotation_hidden_while_pending(original: Operation) -> Operation:
    """While its deletion is pending, no key says that it rotates; cancelled, it rotates as before."""

    def get_key_rotation_status(data: Json) -> Answer:
        status, headers, body = original(data)
        key = kms._resolve_key(data.get("KeyId", ""))
        if status == 200 and key["KeyState"] in PENDING_DELETION:
            return responses.json_response({"KeyId": key["Arn"], "KeyRotationEnabled": False})
        return status, headers, body

    return get_key_rotation_status


def with_states_by_tag(original: Operation) -> Operation:
    def tag_resource(data: Json) -> Answer:
        for tag in data.get("Tags", []):
            key = kms._resolve_key(data.get("KeyId", ""))
            if key and tag.get("TagKey") == STATE_TAG:
                key["KeyState"], key["Enabled"] = tag["TagValue"], tag["TagValue"] == "Enabled"
                return responses.json_response({})
        return original(data)

    return tag_resource


def with_all_states(original: Callable[[Json], Answer | None]) -> Callable[[Json], Answer | None]:
    """MiniStack encrypts with keys of the states that it does not know."""

    def check_key_state(rec: Json) -> Answer | None:
        problem = original(rec)
        if problem is None and rec["KeyState"] not in ("Enabled", "Updating"):
            return refused("KMSInvalidStateException", f"{rec['Arn']} is {words(rec['KeyState'])}.")
        return problem

    return check_key_state
