//! Requests in, answers out: which call a request is, and who serves it.

use std::collections::{BTreeMap, HashMap};

use aws_smithy_runtime_api::{
    client::orchestrator::{HttpRequest, HttpResponse},
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use guardrail_core::value::names::Arn;
use serde_json::{Value, json};

use crate::fake::world::{SECOND_TOPIC, State};

/// S3's sub-resources: query parameter, what it is called in Get and Put, and in Delete, the error code that says
/// "absent".
pub(super) const SUBRESOURCES: [(&str, &str, &str, &str); 10] = [
    ("publicAccessBlock", "PublicAccessBlock", "PublicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
    ("ownershipControls", "BucketOwnershipControls", "BucketOwnershipControls", "OwnershipControlsNotFoundError"),
    ("acl", "BucketAcl", "", ""),
    ("policy", "BucketPolicy", "BucketPolicy", "NoSuchBucketPolicy"),
    ("encryption", "BucketEncryption", "BucketEncryption", ""),
    ("versioning", "BucketVersioning", "", ""),
    ("lifecycle", "BucketLifecycleConfiguration", "BucketLifecycle", "NoSuchLifecycleConfiguration"),
    ("inventory", "BucketInventoryConfiguration", "BucketInventoryConfiguration", "NoSuchConfiguration"),
    ("website", "BucketWebsite", "BucketWebsite", "NoSuchWebsiteConfiguration"),
    ("replication", "BucketReplication", "BucketReplication", "ReplicationConfigurationNotFoundError"),
];

/// S3's other calls that a query parameter tells apart: the parameter, operation name.
pub(super) const QUERIES: [(&str, &str); 8] = [
    ("list-type", "ListObjectsV2"),
    ("versions", "ListObjectVersions"),
    ("uploads", "ListMultipartUploads"),
    ("object-lock", "GetObjectLockConfiguration"),
    ("legal-hold", "GetObjectLegalHold"),
    ("retention", "GetObjectRetention"),
    ("delete", "DeleteObjects"),
    ("uploadId", "AbortMultipartUpload"),
];

/// Lambda's: the end of the path, operation name.
pub(super) const LAMBDA: [(&str, &str); 6] = [
    ("/policy", "GetPolicy"),
    ("/concurrency", "GetFunctionConcurrency"),
    ("/invocations", "Invoke"),
    ("/account-settings", "GetAccountSettings"),
    ("/configuration", "GetFunctionConfiguration"),
    ("/event-source-mappings", "ListEventSourceMappings"),
];

pub(super) const READS: [&str; 4] = ["Get", "Describe", "List", "BatchGet"];

/// A request, understood.
pub(crate) struct Call {
    pub(crate) operation: String,
    /// S3 only.
    pub(crate) subresource: String,
    /// S3 only.
    pub(crate) bucket: String,
    /// Whom it was sent to, as the host's name begins.
    pub(crate) service: String,
    /// Where it was sent.
    pub(super) region: String,
    /// Of its URI.
    pub(super) path: String,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn from_request(request: &HttpRequest) -> Self {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let (address, query) = request.uri().split_once('?').unwrap_or((request.uri(), ""));
        let (host, path) = address.trim_start_matches("https://").split_once('/').unwrap_or((address, ""));
        let (bucket, _) = host.split_once(".s3.").unwrap_or_default();
        let call = |operation: &str, subresource: &str| Self {
            operation: operation.to_owned(),
            subresource: subresource.to_owned(),
            bucket: bucket.to_owned(),
            service: host.split('.').next().unwrap_or_default().to_owned(),
            region: host.split('.').nth(1).unwrap_or_default().to_owned(),
            path: path.to_owned(),
            body: body.clone(),
        };
        if let Some(target) = request.headers().get("x-amz-target") {
            return call(target.rsplit('.').next().unwrap_or_default(), "");
        }
        if let Some(action) = form(&body).remove("Action") {
            return call(&action, "");
        }
        // Lambda: a path that begins with the date of its API.
        let lambda =
            LAMBDA.iter().find(|it| path.starts_with("20") && format!("/{path}").trim_end_matches('/').ends_with(it.0));
        if let Some((_, operation)) = lambda {
            return call(operation, "");
        }
        let asks_for = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
        // Of buckets; an object's has a key before it.
        if let Some((subresource, name, deleted, _)) = SUBRESOURCES.iter().find(|it| path.is_empty() && asks_for(it.0))
        {
            return match request.method() {
                "GET" => call(&format!("Get{name}"), subresource),
                "DELETE" => call(&format!("Delete{deleted}"), subresource),
                _ => call(&format!("Put{name}"), subresource),
            };
        }
        if host.starts_with("s3.") && path.is_empty() && request.method() == "GET" {
            return call("ListBuckets", "");
        }
        match (QUERIES.iter().find(|it| asks_for(it.0)), request.method()) {
            (Some(("uploads", _)), "POST") => call("CreateMultipartUpload", ""),
            (Some(("uploadId", _)), "PUT") if request.headers().get("x-amz-copy-source").is_some() => {
                call("UploadPartCopy", "")
            }
            (Some(("uploadId", _)), "PUT") => call("UploadPart", ""),
            (Some(("uploadId", _)), "POST") => call("CompleteMultipartUpload", ""),
            (Some((_, operation)), _) => call(operation, ""),
            (None, "HEAD") if path.is_empty() => call("HeadBucket", ""),
            (None, "HEAD") => call("HeadObject", ""),
            (None, "GET") => call("GetObject", ""),
            (None, "PUT") if path.is_empty() => call("CreateBucket", ""),
            (None, "PUT") if asks_for("encryption") => call("UpdateObjectEncryption", ""),
            (None, "PUT") if asks_for("acl") => call("PutObjectAcl", ""),
            (None, "PUT") if request.headers().get("x-amz-copy-source").is_some() => call("CopyObject", ""),
            (None, "PUT") => call("PutObject", ""),
            (None, "DELETE") if path.is_empty() => call("DeleteBucket", ""),
            (None, "DELETE") => call("DeleteObject", ""),
            (_, other) => call(&format!("{other} {}", request.uri()), ""),
        }
    }

    /// S3's calls are the only ones without a name in them.
    pub(crate) fn is_s3(&self) -> bool {
        !self.bucket.is_empty()
    }

    /// Which object it is about: `BUCKET/KEY`.
    pub(super) fn place(&self, request: &HttpRequest) -> String {
        let address = request.uri().split('?').next().unwrap_or_default().trim_start_matches("https://");
        let key = address.split_once('/').unwrap_or_default().1;
        format!("{}/{key}", self.bucket)
    }

    pub(crate) fn is_read(&self) -> bool {
        READS.iter().any(|it| self.operation.starts_with(it))
    }

    pub(crate) fn error(&self, status: u16, code: &str) -> HttpResponse {
        let body = match self.operation.as_str() {
            "Publish"
            | "ListSubscriptionsByTopic"
            | "DescribeStackResources"
            | "DescribeStacks"
            | "ValidateTemplate" => {
                format!("<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>")
            }
            _ if self.is_s3() => format!("<Error><Code>{code}</Code><Message>no</Message></Error>"),
            _ => json!({"__type": code, "message": "no"}).to_string(),
        };
        response(status, &body)
    }
}

/// S3 refuses, in these words.
pub(super) fn refused(status: u16, code: &str, message: &str) -> HttpResponse {
    response(status, &format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
}

pub(crate) fn response(status: u16, body: &str) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::try_from(status).expect("a status"), SdkBody::from(body));
    response.headers_mut().insert("content-length", body.len().to_string());
    response
}

/// A key as S3 lists it when `encoding-type` is `url`.
pub(super) fn encode(key: &str) -> String {
    form_urlencoded::byte_serialize(key.as_bytes()).collect()
}

/// The fields of a form-encoded body.
pub(super) fn form(body: &str) -> HashMap<String, String> {
    form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

impl State {
    pub(super) fn serve(&mut self, request: &HttpRequest, call: &Call) -> HttpResponse {
        if self.enforces && self.is_denied(request, call) {
            return refused(403, "AccessDenied", "not authorized, with an explicit deny in a resource-based policy");
        }
        match call.operation.as_str() {
            "GetParameter" => {
                let input: Value = serde_json::from_str(&call.body).unwrap_or_default();
                let name = input["Name"].as_str().unwrap_or_default();
                match self.parameters.get(name) {
                    Some(value) => response(200, &json!({"Parameter": {"Name": name, "Value": value}}).to_string()),
                    None => call.error(400, "ParameterNotFound"),
                }
            }
            "Publish" => {
                let fields = form(&call.body);
                let topic = fields.get("TopicArn").cloned().unwrap_or_default();
                if self.refusing_topics.contains(&topic) {
                    return call.error(403, "AuthorizationError");
                }
                // The first topic is encrypted with it.
                if topic != SECOND_TOPIC && self.own_key.as_ref().is_some_and(|it| it.state != "Enabled") {
                    return call.error(400, "KMSDisabled");
                }
                let region = Arn::parse(&topic).map_or("", |it| it.region);
                if !request.uri().starts_with(&format!("https://sns.{region}.")) {
                    return call.error(400, "InvalidParameter");
                }
                self.published.push(fields);
                response(
                    200,
                    "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>",
                )
            }
            "CreateBucket" => self.in_bucket(&call.bucket, |this| match this.bucket {
                Some(_) => call.error(409, "BucketAlreadyOwnedByYou"),
                None => {
                    this.bucket = Some(BTreeMap::new());
                    response(200, "")
                }
            }),
            _ if !call.subresource.is_empty() => self.in_bucket(&call.bucket, |this| this.serve_s3(request, call)),
            // Writing with the bucket's key may need to decrypt it first, and our roles may not decrypt.
            "PutObject" if request.headers().get("x-amz-server-side-encryption-bucket-key-enabled") == Some("true") => {
                call.error(403, "AccessDenied")
            }
            "PutObject" => {
                self.objects.insert(call.place(request), call.body.clone());
                response(200, "")
            }
            "ListBuckets" => self.list_buckets(request),
            _ if call.is_s3() => self.serve_objects(request, call),
            "Invoke" => {
                self.invoked.push(call.body.clone());
                let mut answer = response(200, "{}");
                if self.functions_fail {
                    answer.headers_mut().insert("x-amz-function-error", "Unhandled");
                }
                answer
            }
            "ListSubscriptionsByTopic" if !self.rules.is_empty() => response(
                200,
                "<ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult><Subscriptions><member><SubscriptionArn>arn:aws:sns:eu-west-2:111122223333:alerts:1</SubscriptionArn></member></Subscriptions></ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>",
            ),
            "DescribeStackResources" => self.serve_stack(call),
            "ValidateTemplate" => {
                response(200, "<ValidateTemplateResponse><ValidateTemplateResult/></ValidateTemplateResponse>")
            }
            "DescribeStacks" => {
                let name = form(&call.body).remove("StackName").unwrap_or_default();
                if self.rules.is_empty() || self.stack.as_ref().is_some_and(BTreeMap::is_empty) {
                    return call.error(400, "ValidationError");
                }
                let stack = format!(
                    "<member><StackName>{name}</StackName><CreationTime>2026-11-23T09:14:05Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus></member>"
                );
                response(
                    200,
                    &format!(
                        "<DescribeStacksResponse><DescribeStacksResult><Stacks>{stack}</Stacks></DescribeStacksResult></DescribeStacksResponse>"
                    ),
                )
            }
            "GetCallerIdentity" => response(
                200,
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/ann</Arn><UserId>AIDAEXAMPLE</UserId><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
            ),
            "GetRole" => response(
                200,
                "<GetRoleResponse><GetRoleResult><Role><Path>/</Path><RoleName>admin</RoleName><RoleId>AROAEXAMPLEEXAMPLE</RoleId><Arn>arn:aws:iam::111122223333:role/admin</Arn><CreateDate>2026-11-23T09:14:05Z</CreateDate></Role></GetRoleResult></GetRoleResponse>",
            ),
            "SimulatePrincipalPolicy" => response(
                200,
                "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults/></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>",
            ),
            _ if call.service == "dynamodb" => self.serve_ledger(call),
            _ => match self.serve_json(call) {
                Ok(answer) => response(200, &answer.to_string()),
                Err(code) => call.error(400, code),
            },
        }
    }

    /// The services that speak JSON: an answer, or an error's code.
    fn serve_json(&mut self, call: &Call) -> Result<Value, &'static str> {
        let input = &serde_json::from_str(&call.body).unwrap_or_default();
        let (operation, region) = (call.operation.as_str(), call.region.as_str());
        match call.service.as_str() {
            "ssm" => self.serve_parameter(operation, input),
            "sqs" => self.serve_queue(operation, input),
            "kms" => self.serve_keys(operation, input, region),
            "cloudtrail" => self.serve_trails(operation, input, region),
            "events" => self.serve_rules(operation, input),
            "lambda" => self.serve_function(call),
            "budgets" => self.serve_budget(operation, input),
            _ => Err("UnknownOperationException"),
        }
    }

    /// Remembers a call of S3, as CloudTrail does, and gives it an id.
    pub(super) fn record(&mut self, request: &HttpRequest, answer: &mut HttpResponse) {
        let Some(records) = &mut self.records else { return };
        let call = Call::from_request(request);
        if !call.is_s3() {
            return;
        }
        let id = format!("REQUEST{}", records.len());
        let denied = (answer.status().as_u16() == 403).then_some("AccessDenied");
        records.push(json!({
            "eventName": call.operation.trim_end_matches("Configuration"), "eventSource": "s3.amazonaws.com", "requestID": id,
            "errorCode": denied, "requestParameters": {"bucketName": call.bucket},
            "resources": [{"type": "AWS::S3::Bucket", "ARN": format!("arn:aws:s3:::{}", call.bucket)}],
        }));
        answer.headers_mut().insert("x-amz-request-id", id);
    }
}
