"""Bucket policies that S3 refuses and MiniStack stores, and how S3 gives back what it has stored."""

import json
import re
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam

MAX_BYTES = 20 * 1024
ACCOUNT = re.compile(r"\d{12}|arn:aws:iam::\d{12}:root")
USER_OR_ROLE = re.compile(r"arn:aws:iam::(?P<account>\d{12}):(?P<kind>user|role)/(?:[^*?]+/)?(?P<name>[^/*?]+)")
SESSION = re.compile(r"arn:aws:sts::(?P<account>\d{12}):assumed-role/(?P<name>[^/*?]+)/[^*?]+")

# An error code of S3 and its message.
Refusal = tuple[str, str]


def refusal(bucket: str, body: bytes) -> Refusal | None:
    """Why S3 would not take this policy."""
    if len(body) > MAX_BYTES:
        return "PolicyTooLarge", "Policy exceeds the maximum allowed document size."
    problem = iam_evaluator.validate_policy_document(body.decode("utf-8", "replace"))
    if problem:
        return "MalformedPolicy", problem
    for statement in listed(json.loads(body)["Statement"]):
        problem = statement_problem(bucket, statement)
        if problem:
            return "MalformedPolicy", problem
    return None


def kept(body: bytes) -> bytes:
    """As S3 gives it back: no lists of one, no booleans, and lists whose order means nothing in another one."""
    policy = json.loads(body)
    policy["Statement"] = [respelled(it) for it in listed(policy["Statement"])]
    return json.dumps(policy, separators=(",", ":")).encode()


def respelled(value: Any) -> Any:
    if isinstance(value, list):
        return respelled(value[0]) if len(value) == 1 else [respelled(it) for it in reversed(value)]
    if isinstance(value, dict):
        return {key: respelled(it) for key, it in value.items()}
    return str(value).lower() if isinstance(value, bool) else value


def statement_problem(bucket: str, statement: dict) -> str | None:
    if "Principal" not in statement and "NotPrincipal" not in statement:
        return "Missing required field Principal"
    resources = listed(statement.get("Resource", [])) + listed(statement.get("NotResource", []))
    if not all(names_bucket(str(resource), bucket) for resource in resources):
        return "Policy has invalid resource"
    if not all(principals_exist(statement[it]) for it in ("Principal", "NotPrincipal") if it in statement):
        return "Invalid principal in policy"
    return None


def names_bucket(resource: str, bucket: str) -> bool:
    return resource == f"arn:aws:s3:::{bucket}" or resource.startswith(f"arn:aws:s3:::{bucket}/")


def principals_exist(element: Any) -> bool:
    """AWS knows whether a user or role exists. A deleted one reads back as its id (AIDA…, AROA…), which is refused."""
    if element == "*":
        return True
    if not isinstance(element, dict):
        return False
    if not all(aws_principal_exists(str(it)) for it in listed(element.get("AWS", []))):
        return False
    return all(str(it).endswith(".amazonaws.com") for it in listed(element.get("Service", [])))


def aws_principal_exists(principal: str) -> bool:
    if principal == "*" or ACCOUNT.fullmatch(principal):
        return True
    named = USER_OR_ROLE.fullmatch(principal)
    if named:
        known = iam._users if named["kind"] == "user" else iam._roles
        entity = known.get_scoped(named["account"], None, named["name"])
        return entity is not None and entity["Arn"] == principal
    session = SESSION.fullmatch(principal)
    return session is not None and iam._roles.get_scoped(session["account"], None, session["name"]) is not None


def listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]
