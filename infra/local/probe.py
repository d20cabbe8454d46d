#!/usr/bin/env python3
"""Does the local AWS do what the guardrail relies on? Starts one of its own; ends with 1 if something fails.

    python3 infra/local/probe.py

Every check has an account of its own, so none sees what another one did.
"""

import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import start

if __name__ == "__main__" and Path(sys.prefix) != start.VENV:
    start.install()
    os.execv(start.PYTHON, [str(start.PYTHON), *sys.argv])

import botocore.session
import events_patterns
import hooks
import unsettled
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

REGION = "eu-west-2"
PATIENCE_SECONDS = 20
SESSION = botocore.session.get_session()
CHECKS: list[tuple[str, Callable]] = []
ACCOUNTS = itertools.count(100000000001)

# Publishes what it was called with and what its role may not do; fails when it is told to.
FUNCTION = """#!{python}
import json, os, urllib.request
import botocore.session

API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
SESSION = botocore.session.get_session()


def client(service):
    return SESSION.create_client(service, verify=os.environ["SSL_CERT_FILE"])


def handle(event):
    print("called with", event["detail-type"] if "detail-type" in event else event, flush=True)
    if event.get("fail"):
        raise ValueError("told to fail")
    try:
        client("s3").list_buckets(MaxBuckets=1)
        listed = "allowed"
    except client("s3").exceptions.ClientError as error:
        listed = error.response["Error"]["Code"]
    message = json.dumps({{"listed": listed, "detail": event.get("detail")}})
    client("sns").publish(TopicArn=os.environ["TOPIC_ARN"], Message=message)
    return {{"listed": listed}}


while True:
    with urllib.request.urlopen(API + "next") as answer:
        request_id, event = answer.headers["Lambda-Runtime-Aws-Request-Id"], json.load(answer)
    try:
        result, kind = handle(event), "response"
    except Exception as error:
        result, kind = {{"errorType": type(error).__name__, "errorMessage": str(error)}}, "error"
    urllib.request.urlopen(API + request_id + "/" + kind, json.dumps(result).encode()).close()
"""


class Failed(Exception):
    """What was found instead."""


def check(title: str) -> Callable:
    def register(function: Callable) -> Callable:
        CHECKS.append((title, function))
        return function

    return register


def expect(condition: object, found: object) -> None:
    if not condition:
        raise Failed(found)


def refused(code: str, call: Callable, **parameters: Any) -> None:
    """The call must fail with exactly this code."""
    try:
        found = call(**parameters)
    except ClientError as error:
        found = error.response["Error"]["Code"]
    expect(found == code, f"{found}, expected {code}")


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions: str | list[str], resources: Any, **more: Any) -> dict:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


class Account:
    """An account of the local AWS, seen by its administrator."""

    def __init__(self, ready: dict):
        self.ready = ready
        self.id = str(next(ACCOUNTS))
        self.keys = (self.id, "test")
        self.root = f"arn:aws:iam::{self.id}:root"
        self.names = itertools.count(1)

    def client(
        self, service: str, keys: tuple[str, str] | None = None, http: bool = False, region: str = REGION
    ) -> Any:
        key_id, secret = keys or self.keys
        return SESSION.create_client(
            service,
            region_name=region,
            endpoint_url=self.ready["http" if http else "https"],
            verify=self.ready["ca"],
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def user(self, *statements: dict, name: str = "user") -> tuple[str, str]:
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="it", PolicyDocument=document(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def stack(self, name: str, resources: dict, region: str = REGION) -> tuple[str, list[str]]:
        """Creates or updates a stack; its state in the end, and the reasons of its events."""
        stacks = self.client("cloudformation", region=region)
        known = stacks.list_stacks()["StackSummaries"]
        exists = any((it["StackName"], it["StackStatus"]) == (name, "CREATE_COMPLETE") for it in known)
        put, until = (stacks.update_stack, "update") if exists else (stacks.create_stack, "create")
        body = json.dumps({"Resources": resources})
        put(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
        try:
            config = {"Delay": 1, "MaxAttempts": PATIENCE_SECONDS}
            stacks.get_waiter(f"stack_{until}_complete").wait(StackName=name, WaiterConfig=config)
        except WaiterError:
            pass
        events = stacks.describe_stack_events(StackName=name)["StackEvents"]
        state = stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        return state, [it.get("ResourceStatusReason", "") for it in events]

    def bucket(self, acls: bool = False) -> str:
        name = f"probe-{self.id}-{next(self.names)}"
        ownership = "ObjectWriter" if acls else "BucketOwnerEnforced"
        where = {"LocationConstraint": REGION}
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where, ObjectOwnership=ownership)
        return name

    def key(self) -> str:
        return self.client("kms").create_key()["KeyMetadata"]["Arn"]

    def let_encrypt(self, key: str, *actions: str) -> None:
        """Lets CloudTrail use a key so."""
        everything = allow("kms:*", "*", Principal={"AWS": self.root})
        service = allow(list(actions), "*", Principal={"Service": "cloudtrail.amazonaws.com"})
        policy = document(everything, service)
        self.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)

    def trail(self, name: str = "trail") -> str:
        """A bucket that CloudTrail may write to, and a trail that does not log yet."""
        bucket = self.bucket()
        self.client("s3").put_bucket_policy(Bucket=bucket, Policy=self.log_policy(bucket, name))
        self.client("cloudtrail").create_trail(Name=name, S3BucketName=bucket, IsMultiRegionTrail=True)
        return name

    def log_policy(self, bucket: str, trail: str = "trail") -> str:
        trail = f"arn:aws:cloudtrail:{REGION}:{self.id}:trail/{trail}"
        service = {"Service": "cloudtrail.amazonaws.com"}
        full_control = {"aws:SourceArn": trail, "s3:x-amz-acl": "bucket-owner-full-control"}
        logs = f"arn:aws:s3:::{bucket}/AWSLogs/{self.id}/*"
        return document(
            allow("s3:GetBucketAcl", f"arn:aws:s3:::{bucket}", Principal=service),
            allow("s3:PutObject", logs, Principal=service, Condition={"StringEquals": full_control}),
        )

    def queue(self, name: str, region: str = REGION) -> tuple[str, str]:
        """URL and ARN of a queue that services may send to."""
        arn = f"arn:aws:sqs:{region}:{self.id}:{name}"
        services = {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]}
        policy = document(allow("sqs:SendMessage", arn, Principal=services))
        url = self.client("sqs", region=region).create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
        return url, arn

    def received(self, url: str, region: str = REGION) -> Iterator[dict]:
        """The messages of a queue as they come, until there are no more."""
        sqs = self.client("sqs", region=region)
        while True:
            answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=PATIENCE_SECONDS)
            expect(answer.get("Messages"), "nothing arrived")
            for message in answer["Messages"]:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                yield json.loads(message["Body"])

    def rule(self, name: str, target_arn: str, source: str, region: str = REGION) -> str:
        events = self.client("events", region=region)
        pattern = {"source": [source], "detail-type": ["AWS API Call via CloudTrail"]}
        arn = events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
        events.put_targets(Rule=name, Targets=[{"Id": "it", "Arn": target_arn}])
        return arn

    def recorded(self, source: str, region: str = REGION) -> Iterator[dict]:
        """The records of one service that reach EventBridge from now on."""
        url, arn = self.queue(source.replace(".", "-"), region)
        self.rule(source.replace(".", "-"), arn, source, region)
        return (event["detail"] for event in self.received(url, region))

    def function(self, name: str = "function") -> tuple[str, str]:
        """ARN of a function that may publish alone, and the URL of the queue where that arrives."""
        topic = self.client("sns").create_topic(Name=name)["TopicArn"]
        url, queue_arn = self.queue(f"{name}-told")
        self.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
        iam = self.client("iam")
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
        policy = document(allow("sns:Publish", topic), allow("sqs:SendMessage", "*"))
        iam.put_role_policy(RoleName=name, PolicyName="it", PolicyDocument=policy)
        arn = self.client("lambda").create_function(
            FunctionName=name,
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role=role,
            Timeout=20,
            Code={"ZipFile": zipped(FUNCTION.format(python=sys.executable))},
            Environment={"Variables": {"TOPIC_ARN": topic}},
        )["FunctionArn"]
        return arn, url

    def let_invoke(self, function: str, rule_arn: str) -> None:
        self.client("lambda").add_permission(
            FunctionName=function,
            StatementId="it",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule_arn,
        )


def zipped(bootstrap: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, bootstrap)
    return content.getvalue()


@check("a hook that has moved, or another version of MiniStack, ends the start")
def _(_account: Account) -> None:
    guards: list[Callable[[], None]] = [
        lambda: hooks.patch(json, "dumps", ["nothing", "like", "this"], lambda original: original),
        lambda: hooks.patch(json, "no_such_function", [], lambda original: original),
        lambda: hooks.need(json, "no_such_name"),
    ]
    for guard in guards:
        try:
            guard()
        except SystemExit as end:
            expect(end.code, "no message")
        else:
            raise Failed("it went on")
    hooks.check_version()


@check("signatures and identity policies are enforced, accounts are apart")
def _(account: Account) -> None:
    bucket, key = account.bucket(), account.user()
    refused("SignatureDoesNotMatch", account.client("s3", (key[0], "wrong")).get_bucket_policy, Bucket=bucket)
    refused("InvalidAccessKeyId", account.client("s3", ("AKIAZZZZZZZZZZZZZZZZ", "x")).list_buckets)
    refused("AccessDenied", account.client("s3", key).get_bucket_encryption, Bucket=bucket)
    other = Account(account.ready)
    found = [it["Name"] for it in other.client("s3").list_buckets(MaxBuckets=9)["Buckets"]]
    expect(found == [], found)


@check("the baseline's policy denies uploads but for the right key, and plain HTTP")
def _(account: Account) -> None:
    bucket, right, wrong = account.bucket(), account.key(), account.key()
    objects = f"arn:aws:s3:::{bucket}/*"
    header = "s3:x-amz-server-side-encryption"

    def deny(resources: str | list[str], action: str, condition: dict) -> dict:
        return {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": resources, "Condition": condition}

    policy = document(
        deny([f"arn:aws:s3:::{bucket}", objects], "s3:*", {"Bool": {"aws:SecureTransport": "false"}}),
        deny(objects, "s3:PutObject", {"Null": {header: "true"}}),
        deny(objects, "s3:PutObject", {"StringNotEquals": {header: "aws:kms"}}),
        deny(objects, "s3:PutObject", {"StringNotEquals": {f"{header}-aws-kms-key-id": right}}),
    )
    account.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    keys = account.user(allow(["s3:*", "kms:*"], "*"))
    s3 = account.client("s3", keys)
    put = {"Bucket": bucket, "Key": "it", "Body": b"it"}
    refused("AccessDenied", s3.put_object, **put)
    refused("AccessDenied", s3.put_object, **put, ServerSideEncryption="AES256")
    refused("AccessDenied", s3.put_object, **put, ServerSideEncryption="aws:kms")
    refused("AccessDenied", s3.put_object, **put, ServerSideEncryption="aws:kms", SSEKMSKeyId=wrong)
    s3.put_object(**put, ServerSideEncryption="aws:kms", SSEKMSKeyId=right)
    s3.get_object(Bucket=bucket, Key="it")
    place = {"Bucket": bucket, "Key": "parts"}
    place["UploadId"] = s3.create_multipart_upload(**place, ServerSideEncryption="aws:kms", SSEKMSKeyId=right)[
        "UploadId"
    ]
    part = {"ETag": s3.upload_part(**place, PartNumber=1, Body=b"it")["ETag"], "PartNumber": 1}
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": [part]})
    refused("AccessDenied", account.client("s3", keys, http=True).get_object, Bucket=bucket, Key="it")


@check("the root user is bound by what a bucket policy denies, and can always mend the policy")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()
    deny = allow("s3:*", [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"], Principal="*")
    s3.put_bucket_policy(Bucket=bucket, Policy=document({**deny, "Effect": "Deny"}))
    refused("AccessDenied", s3.put_object, Bucket=bucket, Key="k", Body=b"")
    refused("AccessDenied", s3.get_bucket_versioning, Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")


@check("an upload that names no key has AWS's own, and objects tell of the bucket key")
def _(account: Account) -> None:
    bucket, s3 = account.bucket(), account.client("s3")
    by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": account.key()}
    rule = {"ApplyServerSideEncryptionByDefault": by_default, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket=bucket, Key="it", ServerSideEncryption="aws:kms")
    head = s3.head_object(Bucket=bucket, Key="it")
    expect(head["SSEKMSKeyId"].endswith("alias/aws/s3") and head["BucketKeyEnabled"], head)


@check("a role may be allowed some ACLs, and a refusal names the request")
def _(account: Account) -> None:
    bucket = account.bucket(acls=True)
    condition = {"StringEquals": {"s3:x-amz-acl": "private"}}
    s3 = account.client("s3", account.user(allow("s3:PutBucketAcl", "*", Condition=condition)))
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    try:
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
        raise Failed("allowed")
    except ClientError as error:
        expect(error.response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-request-id"), error.response)


@check("ExpectedBucketOwner is compared")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()
    s3.get_bucket_encryption(Bucket=bucket, ExpectedBucketOwner=account.id)
    refused("AccessDenied", s3.get_bucket_encryption, Bucket=bucket, ExpectedBucketOwner="999999999999")
    refused("InvalidBucketOwnerAWSAccountID", s3.get_bucket_encryption, Bucket=bucket, ExpectedBucketOwner="me")
    refused("NoSuchBucket", s3.get_bucket_encryption, Bucket=f"no-{bucket}", ExpectedBucketOwner="999999999999")


@check("what is absent is told with the codes of S3")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()
    refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=bucket)
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    refused("NoSuchConfiguration", s3.get_bucket_inventory_configuration, Bucket=bucket, Id="it")
    expect("Status" not in s3.get_bucket_versioning(Bucket=bucket), "a versioning status")
    s3.delete_public_access_block(Bucket=bucket)
    refused("NoSuchPublicAccessBlockConfiguration", s3.get_public_access_block, Bucket=bucket)
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    refused("OwnershipControlsNotFoundError", s3.get_bucket_ownership_controls, Bucket=bucket)
    refused("NoSuchBucket", s3.get_bucket_policy, Bucket=f"no-{bucket}")
    refused("NoSuchBucket", s3.get_bucket_inventory_configuration, Bucket=f"no-{bucket}", Id="it")


@check("policies that S3 refuses are refused, and change nothing")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()
    objects = f"arn:aws:s3:::{bucket}/*"
    account.user(name="alice")
    user = f"arn:aws:iam::{account.id}:user/alice"

    def put(*statements: dict) -> None:
        s3.put_bucket_policy(Bucket=bucket, Policy=document(*statements))

    for principal in (user, account.root, account.id, "111122223333", [user, account.root]):
        put(allow("s3:GetObject", objects, Principal={"AWS": principal}))
    kept = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    refused("MalformedPolicy", s3.put_bucket_policy, Bucket=bucket, Policy="{")
    for broken in (
        allow("s3:GetObject", objects),
        allow("s3:GetObject", "arn:aws:s3:::another/*", Principal={"AWS": user}),
        allow("s3:GetObject", objects, Principal={"AWS": "AIDAEXAMPLEOFADEADID"}),
        allow("s3:GetObject", objects, Principal={"AWS": f"arn:aws:iam::{account.id}:role/nobody"}),
        allow("s3:GetObject", objects, Principal={"AWS": f"arn:aws:iam::{account.id}:user/*"}),
        {"Effect": "Perhaps", "Principal": "*", "Action": "s3:GetObject", "Resource": objects},
    ):
        refused("MalformedPolicy", lambda broken=broken: put(broken))
    refused("PolicyTooLarge", lambda: put(allow("s3:GetObject", [objects] * 700, Principal={"AWS": user})))
    refused("AccessDenied", lambda: put(allow("s3:GetObject", objects, Principal="*")))
    found = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    expect(found == kept, found)
    account.client("iam").delete_access_key(
        UserName="alice",
        AccessKeyId=account.client("iam").list_access_keys(UserName="alice")["AccessKeyMetadata"][0]["AccessKeyId"],
    )
    account.client("iam").delete_user(UserName="alice")
    refused("MalformedPolicy", lambda: put(allow("s3:GetObject", objects, Principal={"AWS": user})))


@check("policies come back in other words of the same meaning")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()
    here, objects = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"
    principals = {"AWS": [account.root, "111122223333"]}
    put = allow(["s3:GetObject", "s3:ListBucket"], [here, objects], Principal=principals)
    put["Condition"] = {"Bool": {"aws:SecureTransport": [True]}}
    s3.put_bucket_policy(Bucket=bucket, Policy=document(put))
    found = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]
    kept = allow(["s3:ListBucket", "s3:GetObject"], [objects, here], Principal={"AWS": ["111122223333", account.root]})
    expect(found == {**kept, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}, found)


@check("where there may be many buckets, they are listed in pages only")
def _(account: Account) -> None:
    s3, buckets = account.client("s3"), sorted(account.bucket() for _ in range(3))
    refused("InvalidRequest", s3.list_buckets)
    first = s3.list_buckets(MaxBuckets=2)
    rest = s3.list_buckets(MaxBuckets=2, ContinuationToken=first["ContinuationToken"])
    expect(
        [it["Name"] for it in first["Buckets"] + rest["Buckets"]] == buckets and "ContinuationToken" not in rest, rest
    )
    found = [it["Name"] for it in s3.list_buckets(BucketRegion=REGION, Prefix=buckets[1])["Buckets"]]
    expect(found == [buckets[1]], found)


@check("the encryption of stored objects is not changed here")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()
    s3.put_object(Bucket=bucket, Key="it", Body=b"as it was")
    encryption = {"SSEKMS": {"KMSKeyArn": account.key()}}
    refused("NotImplemented", s3.update_object_encryption, Bucket=bucket, Key="it", ObjectEncryption=encryption)
    found = s3.get_object(Bucket=bucket, Key="it")["Body"].read()
    expect(found == b"as it was", found)


@check("ACLs and object ownership exclude each other")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket(acls=True)
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    grantees = [it["Grantee"].get("URI", "") for it in s3.get_bucket_acl(Bucket=bucket)["Grants"]]
    expect(any(it.endswith("/AllUsers") for it in grantees), grantees)
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    own = s3.put_bucket_ownership_controls
    refused("InvalidBucketAclWithObjectOwnership", own, Bucket=bucket, OwnershipControls=enforced)
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    own(Bucket=bucket, OwnershipControls=enforced)
    refused("AccessControlListNotSupported", s3.put_bucket_acl, Bucket=bucket, ACL="public-read")


@check("lifecycle rules come back as they were put, with the minimum size")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()
    new = [
        {"ID": "new", "Status": "Enabled", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 30}},
        {"ID": "size", "Status": "Disabled", "Filter": {"ObjectSizeLessThan": 9}, "Expiration": {"Days": 9}},
        {"ID": "blank", "Status": "Enabled", "Filter": {"Prefix": " "}, "Expiration": {"Days": 9}},
    ]
    old = [
        {"ID": "old", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 9}},
        {"ID": "blank", "Status": "Enabled", "Prefix": " ", "Expiration": {"Days": 9}},
        {
            "ID": "all",
            "Status": "Enabled",
            "Prefix": "",
            "NoncurrentVersionTransitions": [{"NoncurrentDays": 9, "StorageClass": "GLACIER"}],
        },
    ]
    default = "all_storage_classes_128K"
    for rules, size, kept in ((new, "varies_by_storage_class", "varies_by_storage_class"), (old, None, default)):
        more = {"TransitionDefaultMinimumObjectSize": size} if size else {}
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules}, **more)
        found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        expect(found["TransitionDefaultMinimumObjectSize"] == kept, found)
        expect(found["Rules"] == rules, found["Rules"])


@check("lifecycle configurations that S3 refuses are refused, and change nothing")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()

    def rule(name: str, **more: Any) -> dict:
        return {"ID": name, "Status": "Enabled", "Expiration": {"Days": 9}, **more}

    def put(*rules: dict) -> None:
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})

    new, old = rule("new", Filter={"Prefix": "a/"}), rule("old", Prefix="a/")
    put(new)
    newer = {"NoncurrentVersionExpiration": {"NoncurrentDays": 9, "NewerNoncurrentVersions": 2}}
    refused("InvalidRequest", lambda: put(new, old))
    refused("InvalidRequest", lambda: put(old, new))
    refused("InvalidRequest", lambda: put(old, rule("within", Prefix="a/b/")))
    refused("InvalidRequest", lambda: put(rule("newer", Prefix="a/", **newer)))
    refused("InvalidRequest", lambda: put({"ID": "idle", "Status": "Enabled", "Filter": {}}))
    tag = {"Tag": {"Key": "a", "Value": "b"}}
    refused(
        "InvalidRequest",
        lambda: put(rule("abort", Filter=tag, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})),
    )
    refused("InvalidArgument", lambda: put(new, new))
    refused("InvalidArgument", lambda: put(rule("x" * 256, Filter={})))
    refused("MalformedXML", lambda: put(rule("nowhere")))
    refused("MalformedXML", lambda: put(*(rule(f"{n}", Filter={}) for n in range(1001))))
    found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    expect(found == [new], found)
    put(new, rule("within", Filter={"Prefix": "a/b/"}))


@check("default encryption comes back with the blocked encryption types")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": account.key()},
        "BucketKeyEnabled": True,
        "BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]},
    }
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    found = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    expect(found == [rule], found)


@check("inventory configurations can be put, read, listed and deleted; the bucket stays")
def _(account: Account) -> None:
    s3, bucket = account.client("s3"), account.bucket()
    encryption = {"SSEKMS": {"KeyId": account.key()}}
    target = {"Bucket": f"arn:aws:s3:::{bucket}", "Format": "Parquet", "Prefix": "it", "Encryption": encryption}
    configuration = {
        "Id": "it",
        "IsEnabled": True,
        "IncludedObjectVersions": "All",
        "Schedule": {"Frequency": "Daily"},
        "Destination": {"S3BucketDestination": target},
        "OptionalFields": ["EncryptionStatus", "ReplicationStatus"],
    }
    put = s3.put_bucket_inventory_configuration
    refused("IdMismatch", put, Bucket=bucket, Id="other", InventoryConfiguration=configuration)
    put(Bucket=bucket, Id="it", InventoryConfiguration=configuration)
    found = s3.get_bucket_inventory_configuration(Bucket=bucket, Id="it")["InventoryConfiguration"]
    expect(found == configuration, found)
    found = s3.list_bucket_inventory_configurations(Bucket=bucket)["InventoryConfigurationList"]
    expect(found == [configuration], found)
    s3.delete_bucket_inventory_configuration(Bucket=bucket, Id="it")
    refused("NoSuchConfiguration", s3.delete_bucket_inventory_configuration, Bucket=bucket, Id="it")
    refused("NotImplemented", s3.delete_bucket_metrics_configuration, Bucket=bucket, Id="it")
    s3.head_bucket(Bucket=bucket)


@check("parameters of the Parameter Store obey IAM, and accounts are apart")
def _(account: Account) -> None:
    mine = f"arn:aws:ssm:{REGION}:{account.id}:parameter/it/*"
    actions = ["ssm:GetParameter", "ssm:PutParameter", "ssm:DeleteParameter"]
    keys = account.user(allow(actions, mine), allow("ssm:GetParametersByPath", mine.removesuffix("/*")))
    ssm = account.client("ssm", keys)
    ssm.put_parameter(Name="/it/a", Type="String", Value="one")
    refused("AccessDeniedException", ssm.put_parameter, Name="/other/a", Type="String", Value="one")
    refused("ParameterAlreadyExists", ssm.put_parameter, Name="/it/a", Type="String", Value="two")
    ssm.put_parameter(Name="/it/a", Type="String", Value="two", Overwrite=True)
    found = ssm.get_parameter(Name="/it/a")["Parameter"]["Value"]
    expect(found == "two", found)
    found = [it["Name"] for it in ssm.get_parameters_by_path(Path="/it")["Parameters"]]
    expect(found == ["/it/a"], found)
    refused("ParameterNotFound", Account(account.ready).client("ssm").get_parameter, Name="/it/a")
    ssm.delete_parameter(Name="/it/a")
    refused("ParameterNotFound", ssm.get_parameter, Name="/it/a")


@check("keys have aliases, policies, rotation and tags; CreateAlias is authorized on the key")
def _(account: Account) -> None:
    key, other = account.key(), account.key()
    alias = f"arn:aws:kms:{REGION}:{account.id}:alias/it"
    kms = account.client("kms", account.user(allow("kms:*", [key, alias]), allow("kms:ListAliases", "*")))
    kms.create_alias(AliasName="alias/it", TargetKeyId=key)
    refused("AccessDeniedException", kms.create_alias, AliasName="alias/no", TargetKeyId=other)
    found = kms.describe_key(KeyId="alias/it")["KeyMetadata"]
    expect((found["Arn"], found["KeyState"]) == (key, "Enabled"), found)
    expect("alias/it" in [it["AliasName"] for it in kms.list_aliases()["Aliases"]], "no alias")
    kms.enable_key_rotation(KeyId=key)
    expect(kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"], "no rotation")
    policy = document(allow("kms:*", "*", Principal={"AWS": account.root}, Sid="It"))
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)
    found = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    expect(found["Statement"] == json.loads(policy)["Statement"], found)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}])
    account.client("kms").update_alias(AliasName="alias/it", TargetKeyId=other)
    found = account.client("kms").describe_key(KeyId="alias/it")["KeyMetadata"]["Arn"]
    expect(found == other, found)


def put_into(kms: Any, key: str, state: str) -> None:
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "local-aws:state", "TagValue": state}])


@check("a key answers as its state, its use and its origin let it, and only in its region")
def _(account: Account) -> None:
    kms = account.client("kms")

    def state(key: str) -> str:
        return kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]

    key = account.key()
    kms.enable_key_rotation(KeyId=key)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    for call in (kms.enable_key, kms.enable_key_rotation, kms.schedule_key_deletion):
        refused("KMSInvalidStateException", call, KeyId=key)
    policy = document(allow("kms:*", "*", Principal={"AWS": account.root}))
    refused("KMSInvalidStateException", kms.put_key_policy, KeyId=key, PolicyName="default", Policy=policy)
    expect(not kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"], "it rotates while it is going")
    kms.cancel_key_deletion(KeyId=key)
    refused("KMSInvalidStateException", kms.cancel_key_deletion, KeyId=key)
    refused("DisabledException", kms.enable_key_rotation, KeyId=key)
    kms.enable_key(KeyId=key)
    expect(kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"], "it does not rotate as before")
    for name in ("Unavailable", "Updating", "PendingReplicaDeletion"):
        put_into(kms, key, name)
        expect(state(key) == name, state(key))
    kms.cancel_key_deletion(KeyId=key)
    expect(state(key) == "Disabled", state(key))
    put_into(kms, key, "Unavailable")
    kms.enable_key(KeyId=key)
    expect(state(key) == "Unavailable", "EnableKey brought a store back")

    def create(**kind: str) -> str:
        return kms.create_key(**kind)["KeyMetadata"]["Arn"]

    imported = create(Origin="EXTERNAL")
    expect(state(imported) == "PendingImport", state(imported))
    refused("KMSInvalidStateException", kms.enable_key, KeyId=imported)
    stores = [create(Origin=it, CustomKeyStoreId="cks-1") for it in ("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")]
    signing = create(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
    mac = create(KeyUsage="GENERATE_VERIFY_MAC", KeySpec="HMAC_256")
    for other in (imported, *stores, signing, mac):
        refused("UnsupportedOperationException", kms.get_key_rotation_status, KeyId=other)
        refused("UnsupportedOperationException", kms.enable_key_rotation, KeyId=other)
    elsewhere = account.client("kms", region="us-east-1")
    refused("NotFoundException", elsewhere.describe_key, KeyId=key)


@check("key policies of principals that do not exist are refused, and lists come back in another order")
def _(account: Account) -> None:
    kms, key = account.client("kms"), account.key()
    actions = ["kms:Get*", "kms:List*"]
    account.user(name="ann")
    both = [account.root, f"arn:aws:iam::{account.id}:user/ann"]

    def put(principals: list[str]) -> None:
        everything = allow("kms:*", "*", Principal={"AWS": [account.root]})
        policy = document(allow(actions, "*", Principal={"AWS": principals}), everything)
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)

    put(both)
    first, second = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])["Statement"]
    expect((first["Principal"]["AWS"], first["Action"]) == (both[::-1], actions[::-1]), first)
    expect(second["Principal"]["AWS"] == account.root, second)
    for dead in ("AIDACKCEVSQ6C2EXAMPLE", f"arn:aws:iam::{account.id}:role/nobody"):
        refused("MalformedPolicyDocumentException", lambda dead=dead: put([*both, dead]))


@check("trails are answered about at home, and to their account")
def _(account: Account) -> None:
    own, there = account.client("cloudtrail"), account.client("cloudtrail", region="us-east-1")
    account.trail("all-regions")
    arn = f"arn:aws:cloudtrail:{REGION}:{account.id}:trail/all-regions"
    expect([it["TrailARN"] for it in there.describe_trails()["trailList"]] == [arn], "no shadow trail")
    for named in ("all-regions", arn):
        for call in (there.get_trail, there.get_trail_status):
            refused("TrailNotFoundException", call, Name=named)
        refused("TrailNotFoundException", there.get_event_selectors, TrailName=named)
        refused("InvalidHomeRegionException", there.start_logging, Name=named)
    own.get_trail_status(Name=arn)

    organization = Account(account.ready)
    organization.trail("organization")
    shown = f"arn:aws:cloudtrail:{REGION}:{organization.id}:trail/organization"
    organization.client("cloudtrail").update_trail(Name="organization", IsOrganizationTrail=True)
    arns = [it["TrailARN"] for it in own.describe_trails()["trailList"]]
    expect(shown in arns, arns)
    for call in (own.get_trail, own.get_trail_status, own.start_logging):
        refused("CloudTrailARNInvalidException", call, Name=shown)
    refused("CloudTrailARNInvalidException", own.get_event_selectors, TrailName=shown)
    organization.client("cloudtrail").delete_trail(Name="organization")


@check("what is beyond CloudTrail's limits is refused")
def _(account: Account) -> None:
    trails = account.client("cloudtrail")
    for n in range(5):
        account.trail(f"trail-{n}")
    bucket = trails.get_trail(Name="trail-0")["Trail"]["S3BucketName"]
    refused("MaximumNumberOfTrailsExceededException", trails.create_trail, Name="trail-5", S3BucketName=bucket)

    def data(count: int) -> dict:
        return {"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::b{n}/" for n in range(count)]}

    def fields(count: int) -> list[dict]:
        kind = {"Field": "resources.type", "Equals": ["AWS::S3::Object"]}
        arns = {"Field": "resources.ARN", "StartsWith": [f"arn:aws:s3:::b{n}/" for n in range(count)]}
        return [{"Field": "eventCategory", "Equals": ["Data"]}, kind, arns]

    def put(**selectors: list[dict]) -> None:
        trails.put_event_selectors(TrailName="trail-0", **selectors)

    put(EventSelectors=[{"DataResources": [data(125)]}] * 2)
    put(AdvancedEventSelectors=[{"FieldSelectors": fields(498)}])
    for selectors in (
        {"EventSelectors": [{"ReadWriteType": "All"}] * 6},
        {"EventSelectors": [{"DataResources": [data(125)]}, {"DataResources": [data(126)]}]},
        {"AdvancedEventSelectors": [{"FieldSelectors": fields(499)}]},
        {"AdvancedEventSelectors": [{"FieldSelectors": fields(1)[1:]}]},
        {"AdvancedEventSelectors": [{"FieldSelectors": [*fields(1), fields(1)[1]]}]},
        {"EventSelectors": [{"ReadWriteType": "All"}], "AdvancedEventSelectors": [{"FieldSelectors": fields(1)}]},
    ):
        refused("InvalidEventSelectorsException", put, **selectors)


@check("a trail's key must let CloudTrail encrypt, and decrypt where the bucket has a bucket key")
def _(account: Account) -> None:
    trails, bucket, key = account.client("cloudtrail"), account.bucket(), account.key()
    account.client("s3").put_bucket_policy(Bucket=bucket, Policy=account.log_policy(bucket))
    create = {"Name": "trail", "S3BucketName": bucket, "KmsKeyId": key}
    refused("InsufficientEncryptionPolicyException", trails.create_trail, **create)
    account.let_encrypt(key, "kms:GenerateDataKey*", "kms:DescribeKey")
    by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rule = {"ApplyServerSideEncryptionByDefault": by_default, "BucketKeyEnabled": True}
    account.client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    refused("InsufficientEncryptionPolicyException", trails.create_trail, **create)
    account.let_encrypt(key, "kms:GenerateDataKey*", "kms:DescribeKey", "kms:Decrypt")
    trails.create_trail(**create)


@check("a trail needs a bucket that lets CloudTrail write, and keeps what it is told")
def _(account: Account) -> None:
    trails, bucket, key = account.client("cloudtrail"), account.bucket(), account.key()
    account.let_encrypt(key, "kms:GenerateDataKey*", "kms:DescribeKey")
    create = {"Name": "trail", "S3BucketName": bucket, "IsMultiRegionTrail": True, "EnableLogFileValidation": True}
    for name in ("a--b", "a.-b", "-ab", "ab_", "ab", "x" * 129, "a b", "192.168.5.4"):
        refused("InvalidTrailNameException", trails.create_trail, Name=name, S3BucketName=bucket)
    refused("S3BucketDoesNotExistException", trails.create_trail, Name="trail", S3BucketName="no-such")
    refused("InsufficientS3BucketPolicyException", trails.create_trail, **create)
    account.client("s3").put_bucket_policy(Bucket=bucket, Policy=account.log_policy(bucket))
    refused("InsufficientS3BucketPolicyException", trails.create_trail, **create, S3KeyPrefix="elsewhere")
    refused("InsufficientS3BucketPolicyException", trails.create_trail, **{**create, "Name": "other"})
    trails.create_trail(**create, KmsKeyId=key)
    fields = [{"Field": "eventCategory", "Equals": ["Management"]}, {"Field": "readOnly", "Equals": ["false"]}]
    selectors = [{"Name": "writes", "FieldSelectors": fields}]
    trails.put_event_selectors(TrailName="trail", AdvancedEventSelectors=selectors)
    found = trails.get_event_selectors(TrailName="trail")["AdvancedEventSelectors"]
    expect(found == selectors, found)
    expect(not trails.get_trail_status(Name="trail")["IsLogging"], "it logs")
    trails.start_logging(Name="trail")
    expect(trails.get_trail_status(Name="trail")["IsLogging"], "it does not log")
    trails.update_trail(Name="trail", EnableLogFileValidation=False)
    found = trails.get_trail(Name="trail")["Trail"]
    expect(found["LogFileValidationEnabled"] is False and found["KmsKeyId"], found)
    other = account.bucket()
    refused("InsufficientS3BucketPolicyException", trails.update_trail, Name="trail", S3BucketName=other)
    expect(len(trails.describe_trails()["trailList"]) == 1, "another number of trails")
    trails.delete_trail(Name="trail")
    refused("TrailNotFoundException", trails.get_trail, Name="trail")


@check("events reach EventBridge only while a trail logs management writes")
def _(account: Account) -> None:
    s3, trails = account.client("s3"), account.client("cloudtrail")
    records, bucket = account.recorded("aws.s3"), account.bucket()
    account.trail()

    def drift(mark: str) -> None:
        tags = {"TagSet": [{"Key": "mark", "Value": mark}]}
        s3.put_bucket_tagging(Bucket=bucket, Tagging=tags)
        s3.delete_bucket_policy(Bucket=bucket) if mark == "seen" else None

    drift("no trail logs")
    trails.start_logging(Name="trail")
    data = [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::S3::Object"]}]
    trails.put_event_selectors(TrailName="trail", AdvancedEventSelectors=[{"FieldSelectors": data}])
    drift("data events alone")
    reads = [{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": True}]
    trails.put_event_selectors(TrailName="trail", EventSelectors=reads)
    drift("reads alone")
    management = [{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}]
    trails.put_event_selectors(TrailName="trail", AdvancedEventSelectors=management)
    drift("seen")
    found = [next(records)["eventName"], next(records)["eventName"]]
    expect(found == ["PutBucketTagging", "DeleteBucketPolicy"], found)


@check("S3's records have CloudTrail's names, the bucket, the caller and the error; objects have none")
def _(account: Account) -> None:
    account.client("cloudtrail").start_logging(Name=account.trail())
    bucket = account.bucket()
    records = account.recorded("aws.s3")
    s3 = account.client("s3", account.user(allow("s3:*", "*"), name="mallory"))
    s3.put_object(Bucket=bucket, Key="it", Body=b"it")
    s3.delete_object(Bucket=bucket, Key="it")
    blocked = dict.fromkeys(["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"], True)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocked)
    rule = {"ID": "it", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 9}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    nobody = account.client("s3", account.user(name="nobody"))
    refused("AccessDenied", nobody.delete_bucket_policy, Bucket=bucket)
    refused("NoSuchBucket", s3.delete_bucket_lifecycle, Bucket=f"no-{bucket}")
    account.client("s3").delete_bucket(Bucket=bucket)
    put, lifecycle, denied, missing, deleted = (next(records) for _ in range(5))
    found = [it["eventName"] for it in (put, lifecycle, denied, missing, deleted)]
    names = ["PutBucketPublicAccessBlock", "PutBucketLifecycle", "DeleteBucketPolicy"]
    expect(found == [*names, "DeleteBucketLifecycle", "DeleteBucket"], found)
    caller = put["userIdentity"]
    expect(caller["type"] == "IAMUser" and caller["userName"] == "mallory", caller)
    expect(caller["arn"] == f"arn:aws:iam::{account.id}:user/mallory", caller)
    expect(caller["principalId"].startswith("AIDA"), caller)
    expect(put["sourceIPAddress"] == "127.0.0.1" and "Botocore" in put["userAgent"], put)
    expect(put["managementEvent"] is True and "errorCode" not in put, put)
    expect(put["requestParameters"]["bucketName"] == bucket, put)
    expect([it["ARN"] for it in put["resources"]] == [f"arn:aws:s3:::{bucket}"], put)
    expect(denied["errorCode"] == "AccessDenied" and denied["errorMessage"], denied)
    expect(denied["requestParameters"]["bucketName"] == bucket, denied)
    expect(missing["errorCode"] == "NoSuchBucket" and "resources" not in missing, missing)
    expect(deleted["userIdentity"]["type"] == "Root", deleted)


@check("records of tampering have CloudTrail's names, and no parameters when denied")
def _(account: Account) -> None:
    account.client("cloudtrail").start_logging(Name=account.trail())
    key = account.key()
    function, _ = account.function()
    lambdas, kms, events, sns = (account.client(it) for it in ("lambda", "kms", "events", "sns"))
    topic = sns.create_topic(Name="it")["TopicArn"]
    records = {it: account.recorded(f"aws.{it}") for it in ("kms", "events", "lambda", "sns", "ssm", "cloudtrail")}
    records["iam"] = account.recorded("aws.iam", region="us-east-1")
    nobody = account.user(name="nobody")

    def found(service: str, name: str) -> dict:
        return next(it for it in records[service] if it["eventName"] == name)

    kms.disable_key(KeyId=key)
    record = found("kms", "DisableKey")
    expect(record["requestParameters"] == {"keyId": key} and record["resources"][0]["ARN"] == key, record)
    events.put_rule(Name="it", ScheduleExpression="rate(1 day)")
    events.enable_rule(Name="it")
    expect(found("events", "EnableRule")["requestParameters"] == {"name": "it"}, "another rule")
    lambdas.update_function_configuration(FunctionName=function, Environment={"Variables": {"A": "secret"}})
    record = found("lambda", "UpdateFunctionConfiguration20150331v2")
    expect("secret" not in json.dumps(record) and record["requestParameters"]["functionName"], record)
    lambdas.put_function_concurrency(FunctionName="function", ReservedConcurrentExecutions=1)
    expect(found("lambda", "PutFunctionConcurrency20171031")["requestParameters"]["functionName"] == "function", "?")
    url, queue = account.queue("mapped")
    read = document(allow("sqs:*", queue))
    account.client("iam").put_role_policy(RoleName="function", PolicyName="read", PolicyDocument=read)
    mapping = lambdas.create_event_source_mapping(FunctionName=function, EventSourceArn=queue)["UUID"]
    lambdas.update_event_source_mapping(UUID=mapping, Enabled=False)
    record = found("lambda", "UpdateEventSourceMapping20150331")
    expect(record["responseElements"]["functionArn"] == function, record)
    account.client("iam").delete_role_policy(RoleName="function", PolicyName="read")
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="it")
    expect(found("sns", "SetTopicAttributes")["requestParameters"]["topicArn"] == topic, "another topic")
    account.client("ssm").put_parameter(Name="it", Type="String", Value="secret")
    expect("secret" not in json.dumps(found("ssm", "PutParameter")), "the value")
    account.client("iam").delete_role_policy(RoleName="function", PolicyName="it")
    record = found("iam", "DeleteRolePolicy")
    expect(record["requestParameters"]["roleName"] == "function" and record["awsRegion"] == "us-east-1", record)
    calls: list[tuple[str, str, Callable[[Any], object]]] = [
        ("kms", "ScheduleKeyDeletion", lambda it: it.schedule_key_deletion(KeyId=key)),
        ("lambda", "DeleteFunction20150331", lambda it: it.delete_function(FunctionName="function")),
        ("events", "DisableRule", lambda it: it.disable_rule(Name="it")),
        ("cloudtrail", "StopLogging", lambda it: it.stop_logging(Name="trail")),
        ("sns", "DeleteTopic", lambda it: it.delete_topic(TopicArn=topic)),
        ("iam", "DeleteRole", lambda it: it.delete_role(RoleName="function")),
    ]
    for service, name, denied in calls:
        try:
            denied(account.client(service, nobody))
        except ClientError:
            record = found(service, name)
            expect(record["errorCode"] == "AccessDenied" and record["requestParameters"] is None, record)
        else:
            raise Failed(f"{name} was allowed")
    account.client("cloudtrail").stop_logging(Name="trail")
    expect(found("cloudtrail", "StopLogging")["requestParameters"] == {"name": "trail"}, "another trail")


@check("drift runs a function with its role's permissions alone, once its rule may invoke it")
def _(account: Account) -> None:
    account.client("cloudtrail").start_logging(Name=account.trail())
    bucket = account.bucket()
    arn, told = account.function()
    s3 = account.client("s3", account.user(allow("s3:*", "*"), name="mallory"))
    rule_arn = account.rule("drift", arn, "aws.s3")
    s3.delete_bucket_lifecycle(Bucket=bucket)
    account.let_invoke(arn, rule_arn)
    everything = document(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal={"AWS": account.root}))
    s3.put_bucket_policy(Bucket=bucket, Policy=everything)
    message = json.loads(next(account.received(told))["Message"])
    expect(message["listed"] == "AccessDenied", message["listed"])
    detail = message["detail"]
    expect(detail["eventName"] == "PutBucketPolicy", "it ran without permission")
    expect(detail["userIdentity"]["userName"] == "mallory", detail["userIdentity"])
    expect(detail["requestParameters"]["bucketName"] == bucket, detail["requestParameters"])


@check("the calls of a role's session are recorded as the role's")
def _(account: Account) -> None:
    account.client("cloudtrail").start_logging(Name=account.trail())
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": account.root}}
    role = account.client("iam").create_role(RoleName="it", AssumeRolePolicyDocument=document(trust))["Role"]
    policy = document(allow("s3:*", "*"))
    account.client("iam").put_role_policy(RoleName="it", PolicyName="it", PolicyDocument=policy)
    records, bucket = account.recorded("aws.s3"), account.bucket()
    next(records)
    assume = account.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    s3 = SESSION.create_client(
        "s3",
        region_name=REGION,
        endpoint_url=account.ready["https"],
        verify=account.ready["ca"],
        aws_access_key_id=assume["AccessKeyId"],
        aws_secret_access_key=assume["SecretAccessKey"],
        aws_session_token=assume["SessionToken"],
    )
    s3.delete_bucket_policy(Bucket=bucket)
    caller = next(records)["userIdentity"]
    issuer = caller["sessionContext"]["sessionIssuer"]
    expect(caller["type"] == "AssumedRole" and caller["arn"].endswith(":assumed-role/it/session"), caller)
    expect((issuer["arn"], issuer["principalId"]) == (role["Arn"], role["RoleId"]), issuer)


@check("an event that fails is tried three times, then kept; the function's output is in both logs")
def _(account: Account) -> None:
    arn, _ = account.function()
    dead, dead_arn = account.queue("dead")
    lambdas = account.client("lambda")
    destination = {"OnFailure": {"Destination": dead_arn}}
    lambdas.put_function_event_invoke_config(FunctionName=arn, MaximumRetryAttempts=2, DestinationConfig=destination)
    events = account.client("events")
    rule = events.put_rule(Name="own", EventPattern=json.dumps({"source": ["probe"]}))["RuleArn"]
    mark = f"mark-{account.id}"
    failing = json.dumps({"fail": mark})
    events.put_targets(Rule="own", Targets=[{"Id": "it", "Arn": arn, "Input": failing}])
    account.let_invoke(arn, rule)
    events.put_events(Entries=[{"Source": "probe", "DetailType": "it", "Detail": "{}"}])
    letter = json.dumps(next(account.received(dead)))
    expect(mark in letter and "told to fail" in letter, letter)
    logs = account.client("logs").filter_log_events(logGroupName="/aws/lambda/function")["events"]
    found = sum(f"called with {{'fail': '{mark}'}}" in it["message"] for it in logs)
    expect(found == 3, f"{found} tries in CloudWatch Logs")
    log = (Path(account.ready["ca"]).parent / "log").read_text()
    expect(log.count(f"called with {{'fail': '{mark}'}}") >= 3, "not in the log file")


def change_set(stacks: Any, name: str, template: str, kind: str = "UPDATE", **more: Any) -> dict:
    """What came of a change set of the stack `it`, which is executed if it can be."""
    stacks.create_change_set(
        StackName="it",
        ChangeSetName=name,
        ChangeSetType=kind,
        TemplateBody=template,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        **more,
    )
    found = stacks.describe_change_set(StackName="it", ChangeSetName=name)
    if found["Status"] == "CREATE_COMPLETE":
        stacks.execute_change_set(StackName="it", ChangeSetName=name)
        waiter = "stack_create_complete" if kind == "CREATE" else "stack_update_complete"
        stacks.get_waiter(waiter).wait(StackName="it", WaiterConfig={"Delay": 1, "MaxAttempts": PATIENCE_SECONDS})
    return found


@check("an unchanged template repairs nothing; a change set that reverts drift does, but for the policies of queues")
def _(account: Account) -> None:
    stacks, sqs, events = (account.client(it) for it in ("cloudformation", "sqs", "events"))
    arn = f"arn:aws:sqs:{REGION}:{account.id}:it"
    policy = json.loads(document(allow("sqs:SendMessage", arn, Principal={"AWS": account.root})))
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "it", "VisibilityTimeout": 60}}
    rule = {"Name": "it", "State": "ENABLED", "ScheduleExpression": "rate(1 day)"}
    template = json.dumps(
        {
            "Resources": {
                "Queue": queue,
                "Policy": {
                    "Type": "AWS::SQS::QueuePolicy",
                    "Properties": {"Queues": [{"Ref": "Queue"}], "PolicyDocument": policy},
                },
                "Rule": {"Type": "AWS::Events::Rule", "Properties": rule},
            }
        }
    )
    change_set(stacks, "create", template, "CREATE")
    url = sqs.get_queue_url(QueueName="it")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1", "Policy": ""})
    events.delete_rule(Name="it")
    found = change_set(stacks, "unchanged", template)
    expect(found["Status"] == "FAILED" and "didn't contain changes" in found["StatusReason"], found)

    found = change_set(stacks, "revert", template, DeploymentMode="REVERT_DRIFT")
    found = {
        it["ResourceChange"]["LogicalResourceId"]: it["ResourceChange"]["ResourceDriftStatus"]
        for it in found["Changes"]
    }
    expect(found == {"Queue": "MODIFIED", "Rule": "DELETED"}, found)
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    expect(attributes["VisibilityTimeout"] == "60" and not attributes.get("Policy"), attributes)
    expect(events.describe_rule(Name="it")["State"] == "ENABLED", "no rule")
    found = change_set(stacks, "again", template, DeploymentMode="REVERT_DRIFT")
    expect(found["Status"] == "FAILED", found)


def table_of(statement: dict, **more: Any) -> dict:
    """A table `its` of a template, with a policy of this statement."""
    return {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "TableName": "its",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "subject", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "subject", "KeyType": "HASH"}],
            "ResourcePolicy": {"PolicyDocument": json.loads(document(statement))},
            **more,
        },
    }


@check("a table's policy denies everybody but the role that it names, the root user, too, and CloudFormation puts it")
def _(account: Account) -> None:
    arn = f"arn:aws:dynamodb:{REGION}:{account.id}:table/its"
    iam, tables = account.client("iam"), account.client("dynamodb")
    trust = document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": account.root}})
    role = iam.create_role(RoleName="writer", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="writer", PolicyName="it", PolicyDocument=document(allow("dynamodb:*", arn)))
    others = {"ArnNotEquals": {"aws:PrincipalArn": role}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "dynamodb:PutItem", "Resource": arn, "Condition": others}
    found = account.stack("it", {"Table": table_of(deny)})
    expect(found[0] == "CREATE_COMPLETE", found)

    user = account.client("dynamodb", account.user(allow("dynamodb:*", arn), allow("sts:AssumeRole", role)))
    item = {"subject": {"S": "it"}}
    refused("AccessDeniedException", user.put_item, TableName="its", Item=item)
    refused("AccessDeniedException", tables.put_item, TableName="its", Item=item)
    session = account.client("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    writer = SESSION.create_client(
        "dynamodb",
        region_name=REGION,
        endpoint_url=account.ready["https"],
        verify=account.ready["ca"],
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    writer.put_item(TableName="its", Item=item)
    expect(user.get_item(TableName="its", Key=item)["Item"] == item, "not read")
    tables.delete_resource_policy(ResourceArn=arn)
    user.put_item(TableName="its", Item=item)


@check("a table's policy names actions of tables, and has its limit")
def _(account: Account) -> None:
    arn = f"arn:aws:dynamodb:{REGION}:{account.id}:table/its"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "dynamodb:PutItem", "Resource": arn}
    account.stack("it", {"Table": table_of(deny)})
    tables = account.client("dynamodb")
    statements: dict[str, dict] = {
        "an action of streams": {**deny, "Action": ["dynamodb:PutItem", "dynamodb:GetRecords"]},
        "an operation that is no action": {**deny, "Action": "dynamodb:ExecuteStatement"},
        "no resource": {name: it for name, it in deny.items() if name != "Resource"},
        "too much": {**deny, "Resource": [f"{arn}/index/{it}" for it in range(400)]},
    }
    for what, statement in statements.items():
        refused("ValidationException", tables.put_resource_policy, ResourceArn=arn, Policy=document(statement))
        other = table_of(statement, TableName="other")
        found = account.stack(what.replace(" ", "-"), {"Table": other})
        expect(found[0] == "ROLLBACK_COMPLETE", (what, found))


@check("CloudFormation deletes no protected table, and reverts what is read of one, but not its policy")
def _(account: Account) -> None:
    arn = f"arn:aws:dynamodb:{REGION}:{account.id}:table/its"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "dynamodb:PutItem", "Resource": arn}
    recovery = {"PointInTimeRecoveryEnabled": True}
    more = {"DeletionProtectionEnabled": True, "PointInTimeRecoverySpecification": recovery}
    template = json.dumps({"Resources": {"Table": table_of(deny, **more)}})
    stacks, tables = account.client("cloudformation"), account.client("dynamodb")
    change_set(stacks, "create", template, "CREATE")

    def recovers() -> bool:
        found = tables.describe_continuous_backups(TableName="its")["ContinuousBackupsDescription"]
        return found["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"

    expect(recovers(), "no recovery")
    refused("ValidationException", tables.delete_table, TableName="its")
    stacks.delete_stack(StackName="it")
    try:
        waiting = {"Delay": 1, "MaxAttempts": PATIENCE_SECONDS}
        stacks.get_waiter("stack_delete_complete").wait(StackName="it", WaiterConfig=waiting)
        raise Failed("deleted")
    except WaiterError:
        state = stacks.describe_stacks(StackName="it")["Stacks"][0]["StackStatus"]
        expect(state == "DELETE_FAILED", state)
    tables.update_table(TableName="its", DeletionProtectionEnabled=False)
    stacks.delete_stack(StackName="it")
    stacks.get_waiter("stack_delete_complete").wait(StackName="it", WaiterConfig=waiting)

    change_set(stacks, "create", template, "CREATE")
    tables.update_table(TableName="its", DeletionProtectionEnabled=False)
    off = {"PointInTimeRecoveryEnabled": False}
    tables.update_continuous_backups(TableName="its", PointInTimeRecoverySpecification=off)
    tables.delete_resource_policy(ResourceArn=arn)
    [found] = change_set(stacks, "revert", template, DeploymentMode="REVERT_DRIFT")["Changes"]
    expect(found["ResourceChange"]["ResourceDriftStatus"] == "MODIFIED", found)
    table = tables.describe_table(TableName="its")["Table"]
    expect(table["DeletionProtectionEnabled"] and recovers(), table)
    refused("PolicyNotFoundException", tables.get_resource_policy, ResourceArn=arn)


@check("an update below a map that is not there is invalid, and a condition that is lost tells of the item")
def _(account: Account) -> None:
    arn = f"arn:aws:dynamodb:{REGION}:{account.id}:table/its"
    account.stack("it", {"Table": table_of(allow("dynamodb:*", arn, Principal="*"))})
    tables = account.client("dynamodb")
    key = {"subject": {"S": "it"}}
    names = {"#intents": "intents", "#look": "a.b", "#version": "version"}
    below = {
        "TableName": "its",
        "Key": key,
        "UpdateExpression": "SET #intents.#look = :intent ADD #version :one",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {":intent": {"BOOL": True}, ":one": {"N": "1"}},
    }
    refused("ValidationException", tables.update_item, **below)
    expect("Item" not in tables.get_item(TableName="its", Key=key), "made all the same")
    item = {**key, "intents": {"M": {}}, "version": {"N": "18446744073709551614"}}
    tables.put_item(TableName="its", Item=item)
    found = tables.update_item(**below, ReturnValues="ALL_NEW")["Attributes"]
    expected = {**item, "intents": {"M": {"a.b": {"BOOL": True}}}, "version": {"N": "18446744073709551615"}}
    expect(found == expected, found)
    try:
        tables.put_item(
            TableName="its",
            Item=key,
            ConditionExpression="attribute_not_exists(#version)",
            ExpressionAttributeNames={"#version": "version"},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        raise Failed("put")
    except ClientError as error:
        expect(error.response["Error"]["Code"] == "ConditionalCheckFailedException", error.response)
        expect(error.response["Item"] == expected, error.response)
    keys = {"its": {"Keys": [key, {"subject": {"S": "none"}}], "ConsistentRead": True}}
    answer = tables.batch_get_item(RequestItems=keys)
    expect((answer["Responses"], answer["UnprocessedKeys"]) == ({"its": [expected]}, {}), answer)
    twice = {"its": {"Keys": [key, key]}}
    refused("ValidationException", tables.batch_get_item, RequestItems=twice)


@check("CloudFormation may do what its caller may, and nobody passes a role who may not")
def _(account: Account) -> None:
    template = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "it"}}}})
    stack = allow("cloudformation:*", "*")
    stacks = account.client("cloudformation", account.user(stack))
    stacks.create_stack(StackName="it", TemplateBody=template)
    try:
        waiting = {"Delay": 1, "MaxAttempts": PATIENCE_SECONDS}
        stacks.get_waiter("stack_create_complete").wait(StackName="it", WaiterConfig=waiting)
        raise Failed("created")
    except WaiterError:
        reasons = [
            it.get("ResourceStatusReason", "") for it in stacks.describe_stack_events(StackName="it")["StackEvents"]
        ]
        expect(any("not authorized to perform: sqs:CreateQueue" in it for it in reasons), reasons)
    arn, _ = account.function()
    change = allow("lambda:UpdateFunctionConfiguration", arn)
    lambdas = account.client("lambda", account.user(change, name="changer"))
    lambdas.update_function_configuration(FunctionName=arn, Timeout=10)
    role = f"arn:aws:iam::{account.id}:role/function"
    refused("AccessDeniedException", lambdas.update_function_configuration, FunctionName=arn, Role=role)


@check("a reservation of concurrency leaves 100 to others")
def _(account: Account) -> None:
    arn, _ = account.function()
    lambdas = account.client("lambda")
    reserve = lambdas.put_function_concurrency
    refused("InvalidParameterValueException", reserve, FunctionName=arn, ReservedConcurrentExecutions=901)
    reserve(FunctionName=arn, ReservedConcurrentExecutions=900)
    limit = lambdas.get_account_settings()["AccountLimit"]
    expect((limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (1000, 100), limit)


@check("no template has a null in it")
def _(account: Account) -> None:
    stacks = account.client("cloudformation")
    rule = {"EventPattern": {"detail": {"requestParameters": [None]}}}
    for properties in (rule, {"EventPattern": {"source": ["it"]}, "Description": None}):
        template = json.dumps({"Resources": {"It": {"Type": "AWS::Events::Rule", "Properties": properties}}})
        for call, more in (
            (stacks.create_stack, {"StackName": "it"}),
            (stacks.create_change_set, {"StackName": "it", "ChangeSetName": "it", "ChangeSetType": "CREATE"}),
            (stacks.validate_template, {}),
        ):
            refused("ValidationError", call, TemplateBody=template, **more)
    nothing = "Resources:\n  It:\n    Type: AWS::SNS::Topic\n    Properties:\n      TopicName:\n"
    refused("ValidationError", stacks.validate_template, TemplateBody=nothing)
    account.stack("it", {"It": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "it"}}})
    refused("ValidationError", stacks.update_stack, StackName="it", TemplateBody=template)


@check("CloudFormation creates nothing whose name is taken, and rolls back; a role's is taken in every region")
def _(account: Account) -> None:
    trust = json.loads(document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "it"}}))
    role = {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "it", "AssumeRolePolicyDocument": trust}}
    rule = {"Type": "AWS::Events::Rule", "Properties": {"Name": "it", "EventPattern": {"source": ["it"]}}}
    account.client("events").put_rule(Name="it", EventPattern=json.dumps({"source": ["other"]}))
    state, reasons = account.stack("it", {"Topic": {"Type": "AWS::SNS::Topic"}, "Rule": rule})
    expect(state == "ROLLBACK_COMPLETE" and any("'it' already exists" in it for it in reasons), (state, reasons))
    expect(account.client("sns").list_topics()["Topics"] == [], "the topic stayed")
    found = account.client("events").describe_rule(Name="it")["EventPattern"]
    expect("other" in found, found)
    expect(account.stack("role", {"Role": role})[0] == "CREATE_COMPLETE", "no role")
    expect(account.stack("rule", {"Rule": rule}, "eu-west-1")[0] == "CREATE_COMPLETE", "another region has no rule")
    state, reasons = account.stack("role", {"Role": role}, "eu-west-1")
    expect(state == "ROLLBACK_COMPLETE" and any("'it' already exists" in it for it in reasons), (state, reasons))
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "new"}}
    expect(account.stack("role", {"Role": role, "Topic": topic})[0] == "UPDATE_COMPLETE", "no update")


@check("CloudFormation shows what it is at work on, and deletes no rule that somebody gives a target meanwhile")
def _(account: Account) -> None:
    stacks, events = account.client("cloudformation"), account.client("events")
    target = {"Id": "it", "Arn": f"arn:aws:sqs:{REGION}:{account.id}:it"}
    properties = {"Name": "it", "EventPattern": {"source": ["it"]}, "Targets": [target]}
    account.stack("it", {"Rule": {"Type": "AWS::Events::Rule", "Properties": properties}})

    def resource() -> dict:
        return stacks.describe_stack_resources(StackName="it")["StackResources"][0]

    expect((resource()["PhysicalResourceId"], resource()["ResourceStatus"]) == ("it", "CREATE_COMPLETE"), resource())
    stacks.delete_stack(StackName="it")
    while resource()["ResourceStatus"] != "DELETE_IN_PROGRESS":
        pass
    events.put_targets(Rule="it", Targets=[target])
    while stacks.describe_stacks(StackName="it")["Stacks"][0]["StackStatus"] == "DELETE_IN_PROGRESS":
        pass
    expect(resource()["ResourceStatus"] == "DELETE_FAILED", resource())
    events.describe_rule(Name="it")


@check("a rule has a limit of length and of wildcards, in a template, too; exists is true of null, not of objects")
def _(account: Account) -> None:
    events = account.client("events")

    def wildcards(*expressions: str) -> dict:
        return {"detail": {"it": [{"wildcard": it} for it in expressions]}}

    complex = wildcards(*(f"*:function:{it}*" for it in ("sweep", "bootstrap", "verify")))
    for pattern in (complex, {"source": ["x" * 2040]}):
        refused("InvalidEventPatternException", events.put_rule, Name="it", EventPattern=json.dumps(pattern))
        rule = {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": pattern}}
        expect(account.stack("it", {"Rule": rule})[0] == "ROLLBACK_COMPLETE", "the template's was taken")
    for pattern in (wildcards("*:function:sweep*"), wildcards(*"abcdefghi"), {"source": ["x" * 2000]}):
        events.put_rule(Name="it", EventPattern=json.dumps(pattern))
    exists = json.dumps({"detail": {"requestParameters": [{"exists": True}]}})
    cases: list[tuple[object, bool]] = [(None, True), ({}, False), ({"a": 1}, False), ([], False)]
    for parameters, wanted in cases:
        event: dict[str, object] = {
            "id": "1",
            "account": account.id,
            "source": "it",
            "time": "2026-11-25T00:00:00Z",
            "region": REGION,
        }
        event |= {"resources": [], "detail-type": "it", "detail": {"requestParameters": parameters}}
        found = events.test_event_pattern(EventPattern=exists, Event=json.dumps(event))["Result"]
        expect(found is wanted, f"{parameters}: {found}")
    events.put_targets(Rule="it", Targets=[{"Id": "it", "Arn": f"arn:aws:sqs:{REGION}:{account.id}:it"}])
    refused("ValidationException", events.delete_rule, Name="it")
    events.remove_targets(Rule="it", Ids=["it"])
    events.delete_rule(Name="it")


@check("the complexity of a pattern is what event-ruler says it is")
def _(_account: Account) -> None:
    def field(*expressions: str) -> list:
        return [{"wildcard": it} for it in expressions]

    shared = {"$or": [{"b": ["x"]}, {"c": ["x"]}, {"d": ["x"]}]}
    for pattern, wanted in (
        ({"a": ["abc", {"prefix": "a"}, {"suffix": "a"}, {"exists": True}]}, 0),
        ({"a": field("abc")}, 1),
        ({"a": field("*bb")}, 3),
        ({"a": field("a*b*bb")}, 5),
        ({"a": field("a*bcd", "ab*cd")}, 4),
        ({"a": field("a*aaa", "aa*aa")}, 7),
        ({"a": field("ab*cd", "ab*wx", "ab*yz")}, 6),
        ({"a": field("*:function:x*", "*:function:y*", "*:function:z*")}, 12),
        ({"a": [{"anything-but": {"wildcard": ["a*b", "a*c"]}}]}, 2),
        ({"a": field("*b"), **shared}, 4),
        ({"a": field("*b*b"), **shared}, 10),
        ({"e": field("*b"), **shared}, 2),
        ({"$or": [{"a": field("a*b")}, {"a": field("a*c")}]}, 4),
    ):
        found = events_patterns.complexity(pattern)
        expect(found == wanted, f"{pattern}: {found}, expected {wanted}")


@check("a queue's policy is about that queue alone")
def _(account: Account) -> None:
    sqs = account.client("sqs")
    (one, one_arn), (_, two_arn) = account.queue("one"), account.queue("two")
    service = {"Service": "events.amazonaws.com"}
    for resource in (two_arn, [one_arn, two_arn], f"{one_arn}*"):
        policy = {"Policy": document(allow("sqs:SendMessage", resource, Principal=service))}
        refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=one, Attributes=policy)
    refused("InvalidAttributeValue", sqs.create_queue, QueueName="three", Attributes=policy)
    policy = {"Policy": document(allow("sqs:SendMessage", [one_arn], Principal=service))}
    sqs.set_queue_attributes(QueueUrl=one, Attributes=policy)
    both = [{"Fn::GetAtt": ["A", "Arn"]}, {"Fn::GetAtt": ["B", "Arn"]}]

    def template(resource: Any) -> dict:
        policy = json.loads(document(allow("sqs:SendMessage", resource, Principal=service)))
        properties = {"Queues": [{"Ref": "A"}, {"Ref": "B"}], "PolicyDocument": policy}
        queue = {"Type": "AWS::SQS::Queue"}
        return {"A": queue, "B": queue, "Policy": {"Type": "AWS::SQS::QueuePolicy", "Properties": properties}}

    state, reasons = account.stack("it", template(both))
    expect(state == "ROLLBACK_COMPLETE" and any("parameter Policy" in it for it in reasons), (state, reasons))
    expect(account.stack("wide", template("*"))[0] == "CREATE_COMPLETE", "refused for all queues")


@check("an event goes only where a policy lets its rule, or to the target's dead letters")
def _(account: Account) -> None:
    (url, arn), (dead, dead_arn) = account.queue("events"), account.queue("dead-letters")
    events, sqs = account.client("events"), account.client("sqs")
    rule = events.put_rule(Name="own", EventPattern=json.dumps({"source": ["probe"]}))["RuleArn"]
    target = {"Id": "it", "Arn": arn, "DeadLetterConfig": {"Arn": dead_arn}}
    events.put_targets(Rule="own", Targets=[target])

    def only(source: str) -> None:
        allowed = allow("sqs:SendMessage", arn, Principal={"Service": "events.amazonaws.com"})
        condition = {"ArnNotEquals": {"aws:SourceArn": [source, rule + "-2"]}}
        denied = {**allowed, "Effect": "Deny", "Principal": "*", "Condition": condition}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(allowed, denied)})

    def put(mark: str) -> None:
        events.put_events(Entries=[{"Source": "probe", "DetailType": mark, "Detail": "{}"}])

    only(rule)
    put("one")
    expect(next(account.received(url))["detail-type"] == "one", "another")
    # Nobody's call has a source.
    refused("AccessDenied", sqs.send_message, QueueUrl=url, MessageBody="{}")
    only(rule + "-3")
    put("two")
    letter = sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=PATIENCE_SECONDS, MessageAttributeNames=["All"])
    letter = letter["Messages"][0]
    told = {name: it["StringValue"] for name, it in letter["MessageAttributes"].items()}
    expect(json.loads(letter["Body"])["detail-type"] == "two", letter)
    expect((told["RULE_ARN"], told["TARGET_ARN"], told["ERROR_CODE"]) == (rule, arn, "NO_PERMISSIONS"), told)


@check("a queue is mapped to a function that may read it, in time, and read with its rights")
def _(account: Account) -> None:
    function, told = account.function()
    url, arn = account.queue("mapped")
    lambdas, iam, sqs = (account.client(it) for it in ("lambda", "iam", "sqs"))
    wanted = {"FunctionName": function, "EventSourceArn": arn, "BatchSize": 10}
    wanted["FunctionResponseTypes"] = ["ReportBatchItemFailures"]
    refused("InvalidParameterValueException", lambdas.create_event_source_mapping, **wanted)
    read = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    put = {"RoleName": "function", "PolicyName": "read"}
    iam.put_role_policy(**put, PolicyDocument=document(allow(read, arn)))
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "19"})
    refused("InvalidParameterValueException", lambdas.create_event_source_mapping, **wanted)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "20"})
    lambdas.create_event_source_mapping(**wanted)
    iam.put_role_policy(**put, PolicyDocument=document(allow(read[1:], arn)))
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    time.sleep(1)
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    expect(counts["ApproximateNumberOfMessages"] == "1", counts)
    iam.put_role_policy(**put, PolicyDocument=document(allow(read, arn)))
    next(account.received(told))


@check("a session's role stands under aws:PrincipalArn")
def _(account: Account) -> None:
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": account.root}}
    iam, sqs = account.client("iam"), account.client("sqs")
    role = iam.create_role(RoleName="sender", AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    url, arn = account.queue("work")
    iam.put_role_policy(RoleName="sender", PolicyName="it", PolicyDocument=document(allow("sqs:SendMessage", arn)))
    denied = {**allow("sqs:SendMessage", arn, Principal="*"), "Effect": "Deny"}
    denied["Condition"] = {"ArnNotEquals": {"aws:PrincipalArn": role}}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(denied)})
    refused("AccessDenied", sqs.send_message, QueueUrl=url, MessageBody="{}")
    assume = account.client("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    sender = SESSION.create_client(
        "sqs",
        region_name=REGION,
        endpoint_url=account.ready["https"],
        verify=account.ready["ca"],
        aws_access_key_id=assume["AccessKeyId"],
        aws_secret_access_key=assume["SecretAccessKey"],
        aws_session_token=assume["SessionToken"],
    )
    sender.send_message(QueueUrl=url, MessageBody="{}")


@check("what is unsettled is decided by seed, operation and number alone")
def _(_account: Account) -> None:
    def drawn(seed: int | None) -> list[unsettled.Decision]:
        return [unsettled.decide(seed, operation, it) for operation in ("a", "b") for it in range(500)]

    expect(set(drawn(None)) == {unsettled.SETTLED}, "unsettled without a seed")
    for seed in (1, 2, 3):
        found = drawn(seed)
        expect(found == drawn(seed) and found[:500] != found[500:], f"seed {seed}: not by seed and operation")
        answers = {it.answer for it in found}
        expect(answers == {None, "conflict", "unavailable", "lost"}, f"seed {seed}: {answers}")
        times = {len(it.deliveries) for it in found}
        expect(times == {0, 1, 2}, f"seed {seed}: events delivered {times} times")
        latest = max(max(it.deliveries, default=0) for it in found)
        expect(3 < latest <= unsettled.EVENT_LATE_SECONDS, f"seed {seed}: {latest} s late")
        expect(any(it.shown_after for it in found), f"seed {seed}: every write is shown at once")
    expect(drawn(1) != drawn(2), "two seeds, one world")


@check("a write that is shown late is read as it was before, and then as it is")
def _(_account: Account) -> None:
    it = ("account", "bucket", "setting", "id")
    old: hooks.Answer = (200, {}, b"old")
    new: hooks.Answer = (200, {}, b"new")
    denied: hooks.Answer = (403, {}, b"")
    unsettled.shown(it, old, True, 0)
    unsettled.shown(it, (200, {}, b""), False, 60)
    expect(unsettled.shown(it, new, True, 0) == old, "shown at once")
    expect(unsettled.shown(it, denied, True, 0) == denied, "a refusal shown late")
    unsettled.WORLD.shown_until[it] = 0
    expect(unsettled.shown(it, new, True, 0) == new, "never shown")


@check("a running local AWS can be unsettled, and settled again")
def _(account: Account) -> None:
    def put(seed: str) -> int:
        request = urllib.request.Request(f"{account.ready['http']}{unsettled.PATH}?seed={seed}", method="PUT")
        try:
            return urllib.request.urlopen(request).status
        except urllib.error.HTTPError as error:
            return error.code

    expect(put("none") == 400, "a seed that is no number")
    expect(put("1") == 204, "not switched")
    try:
        s3 = account.client("s3")
        s3.create_bucket(Bucket="settled", CreateBucketConfiguration={"LocationConstraint": REGION})
        for _ in range(60):
            s3.put_bucket_versioning(Bucket="settled", VersioningConfiguration={"Status": "Enabled"})
            found = s3.get_bucket_versioning(Bucket="settled").get("Status")
            expect(found == "Enabled", f"the administrator sees {found}")
    finally:
        expect(put("") == 204, "not settled again")


@contextmanager
def local_aws() -> Iterator[dict]:
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, str(start.HERE / "local_aws.py"), "--http", "0", "--https", "0"]
        command += ["--json", "--exit-with-parent", "--bucket-quota", "20000", "--data", data]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin and process.stdout
            try:
                yield json.loads(process.stdout.readline() or sys.exit("the local AWS did not start"))
            finally:
                process.stdin.close()


def main() -> None:
    failures = 0
    with local_aws() as ready:
        for title, function in CHECKS:
            try:
                function(Account(ready))
            except (Failed, ClientError) as found:
                failures += 1
                print(f"FAILED  {title}\n        {found}", flush=True)
            else:
                print(f"ok      {title}", flush=True)
    print(f"{len(CHECKS) - failures} of {len(CHECKS)}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
