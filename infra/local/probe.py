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
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import start

if __name__ == "__main__" and Path(sys.prefix) != start.VENV:
    start.install()
    os.execv(start.PYTHON, [str(start.PYTHON), *sys.argv])

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

import hooks

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
        client("s3").list_buckets()
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


def refused(code: str, call: Callable, **parameters) -> None:
    """The call must fail with exactly this code."""
    try:
        found = call(**parameters)
    except ClientError as error:
        found = error.response["Error"]["Code"]
    expect(found == code, f"{found}, expected {code}")


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions, resources, **more) -> dict:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


class Account:
    """An account of the local AWS, seen by its administrator."""

    def __init__(self, ready: dict):
        self.ready = ready
        self.id = str(next(ACCOUNTS))
        self.keys = (self.id, "test")
        self.root = f"arn:aws:iam::{self.id}:root"
        self.names = itertools.count(1)

    def client(self, service: str, keys: tuple | None = None, http: bool = False, region: str = REGION):
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

    def bucket(self, acls: bool = False) -> str:
        name = f"probe-{self.id}-{next(self.names)}"
        ownership = "ObjectWriter" if acls else "BucketOwnerEnforced"
        where = {"LocationConstraint": REGION}
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where, ObjectOwnership=ownership)
        return name

    def key(self) -> str:
        return self.client("kms").create_key()["KeyMetadata"]["Arn"]

    def trail(self, name: str = "trail") -> str:
        """A bucket that CloudTrail may write to, and a trail that does not log yet."""
        bucket = self.bucket()
        self.client("s3").put_bucket_policy(Bucket=bucket, Policy=self.log_policy(bucket))
        self.client("cloudtrail").create_trail(Name=name, S3BucketName=bucket, IsMultiRegionTrail=True)
        return name

    def log_policy(self, bucket: str) -> str:
        trail = f"arn:aws:cloudtrail:{REGION}:{self.id}:trail/trail"
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
    for guard in (
        lambda: hooks.patch(json, "dumps", ["nothing", "like", "this"], lambda original: original),
        lambda: hooks.patch(json, "no_such_function", [], lambda original: original),
        lambda: hooks.need(json, "no_such_name"),
    ):
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
    found = [it["Name"] for it in other.client("s3").list_buckets()["Buckets"]]
    expect(found == [], found)


@check("the baseline's policy denies uploads but for the right key, and plain HTTP")
def _(account: Account) -> None:
    bucket, right, wrong = account.bucket(), account.key(), account.key()
    objects = f"arn:aws:s3:::{bucket}/*"
    header = "s3:x-amz-server-side-encryption"

    def deny(resources, action, condition):
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
    place["UploadId"] = s3.create_multipart_upload(**place, ServerSideEncryption="aws:kms", SSEKMSKeyId=right)["UploadId"]
    part = {"ETag": s3.upload_part(**place, PartNumber=1, Body=b"it")["ETag"], "PartNumber": 1}
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": [part]})
    refused("AccessDenied", account.client("s3", keys, http=True).get_object, Bucket=bucket, Key="it")


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
    rules = [
        {"ID": "new", "Status": "Enabled", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 30}},
        {"ID": "old", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 9}},
        {"ID": "size", "Status": "Disabled", "Filter": {"ObjectSizeLessThan": 9}, "Expiration": {"Days": 9}},
    ]
    for size, kept in (("varies_by_storage_class", "varies_by_storage_class"), (None, "all_storage_classes_128K")):
        more = {"TransitionDefaultMinimumObjectSize": size} if size else {}
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules}, **more)
        found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        expect(found["TransitionDefaultMinimumObjectSize"] == kept, found)
        expect(found["Rules"] == rules, found["Rules"])


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
    expect(found == json.loads(policy), found)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}])
    account.client("kms").update_alias(AliasName="alias/it", TargetKeyId=other)
    found = account.client("kms").describe_key(KeyId="alias/it")["KeyMetadata"]["Arn"]
    expect(found == other, found)


@check("a trail needs a bucket that lets CloudTrail write, and keeps what it is told")
def _(account: Account) -> None:
    trails, bucket = account.client("cloudtrail"), account.bucket()
    create = {"Name": "trail", "S3BucketName": bucket, "IsMultiRegionTrail": True, "EnableLogFileValidation": True}
    refused("S3BucketDoesNotExistException", trails.create_trail, Name="trail", S3BucketName="no-such")
    refused("InsufficientS3BucketPolicyException", trails.create_trail, **create)
    account.client("s3").put_bucket_policy(Bucket=bucket, Policy=account.log_policy(bucket))
    refused("InsufficientS3BucketPolicyException", trails.create_trail, **create, S3KeyPrefix="elsewhere")
    refused("InsufficientS3BucketPolicyException", trails.create_trail, **{**create, "Name": "other"})
    trails.create_trail(**create, KmsKeyId=account.key())
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
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="it")
    expect(found("sns", "SetTopicAttributes")["requestParameters"]["topicArn"] == topic, "another topic")
    account.client("ssm").put_parameter(Name="it", Type="String", Value="secret")
    expect("secret" not in json.dumps(found("ssm", "PutParameter")), "the value")
    account.client("iam").delete_role_policy(RoleName="function", PolicyName="it")
    record = found("iam", "DeleteRolePolicy")
    expect(record["requestParameters"]["roleName"] == "function" and record["awsRegion"] == "us-east-1", record)
    for service, name, denied in (
        ("kms", "ScheduleKeyDeletion", lambda it: it.schedule_key_deletion(KeyId=key)),
        ("lambda", "DeleteFunction20150331", lambda it: it.delete_function(FunctionName="function")),
        ("events", "DisableRule", lambda it: it.disable_rule(Name="it")),
        ("cloudtrail", "StopLogging", lambda it: it.stop_logging(Name="trail")),
        ("sns", "DeleteTopic", lambda it: it.delete_topic(TopicArn=topic)),
    ):
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


@contextmanager
def local_aws() -> Iterator[dict]:
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, str(start.HERE / "local_aws.py"), "--http", "0", "--https", "0"]
        command += ["--json", "--exit-with-parent", "--data", data]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
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
