//! S3: settings of buckets, objects and their versions.

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use serde_json::Value;

use crate::{
    fake::{
        wire::{Call, SUBRESOURCES, encode, form, refused, response},
        world::{ACCOUNT, BUCKET, FakeVersion, KEY, State},
    },
    s3_rules,
};

pub(super) const OWNER: &str = "<Owner><ID>me</ID></Owner>";

pub(super) const OWNERS_GRANT: &str = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>";

pub(super) const SIZE_HEADER: &str = "x-amz-transition-default-minimum-object-size";

/// A trail as GetTrail and DescribeTrails show it: without its status and its selectors.
pub(super) fn settings_of(trail: &Value) -> Value {
    let mut shown = trail.clone();
    let Some(fields) = shown.as_object_mut() else { return shown };
    if let Some(validated) = fields.remove("EnableLogFileValidation") {
        fields.insert("LogFileValidationEnabled".to_owned(), validated);
    }
    fields.retain(|name, _| !name.ends_with("EventSelectors") && name != "IsLogging" && !name.starts_with("Latest"));
    shown
}

/// A policy as KMS gives it back: lists in another order, and no lists of one.
pub(super) fn reordered(policy: &str) -> String {
    fn list(value: &mut Value) {
        match value {
            Value::Array(all) if all.len() == 1 => *value = all.remove(0),
            Value::Array(all) => all.reverse(),
            Value::Object(kinds) => kinds.values_mut().for_each(list),
            _ => {}
        }
    }
    let Ok(mut policy) = serde_json::from_str::<Value>(policy) else { return policy.to_owned() };
    for statement in policy["Statement"].as_array_mut().into_iter().flatten() {
        for element in ["Principal", "NotPrincipal", "Action", "NotAction"] {
            if let Some(value) = statement.get_mut(element) {
                list(value);
            }
        }
    }
    policy.to_string()
}

/// A bucket's ACL: the owner's grant, and these.
pub fn acl(grants: &str) -> String {
    format!(
        "<AccessControlPolicy>{OWNER}<AccessControlList>{OWNERS_GRANT}{grants}</AccessControlList></AccessControlPolicy>"
    )
}

/// What a request's headers grant, other than the owner's own.
pub(super) fn granted(request: &HttpRequest) -> String {
    const EVERYBODY: &str = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>";
    if request.headers().get("x-amz-acl") == Some("public-read") {
        return EVERYBODY.to_owned();
    }
    let permissions = ["full-control", "read", "write", "read-acp", "write-acp"];
    let of = |permission: &str| {
        let header = request.headers().get(format!("x-amz-grant-{permission}")).unwrap_or_default();
        let grantees = header.split(", ").filter_map(|it| it.strip_suffix('"')?.split_once("=\""));
        let grantees: Vec<_> =
            grantees.filter(|it| it.1 != "me").map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        let permission = permission.replace('-', "_").to_uppercase();
        grantees.into_iter().map(move |(kind, name)| {
            let (kind, element) = if kind == "uri" { ("Group", "URI") } else { ("CanonicalUser", "ID") };
            format!("<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\"><{element}>{name}</{element}></Grantee><Permission>{permission}</Permission></Grant>")
        })
    };
    permissions.into_iter().flat_map(of).collect()
}

impl State {
    /// Does something as if a bucket were the one that is guarded.
    pub(crate) fn in_bucket<T>(&mut self, name: &str, serve: impl FnOnce(&mut Self) -> T) -> T {
        if name == BUCKET {
            return serve(self);
        }
        let guarded = (self.bucket.take(), self.transition_size.take());
        (self.bucket, self.transition_size) =
            self.others.remove(name).map_or_else(Default::default, |it| (Some(it.0), it.1));
        let answer = serve(self);
        if let Some(bucket) = self.bucket.take() {
            self.others.insert(name.to_owned(), (bucket, self.transition_size.take()));
        }
        (self.bucket, self.transition_size) = guarded;
        answer
    }

    /// S3's calls about buckets as a whole, and about what is in them.
    pub(super) fn serve_objects(&mut self, request: &HttpRequest, call: &Call) -> HttpResponse {
        if request.headers().get("x-amz-expected-bucket-owner") != Some(ACCOUNT) {
            return call.error(403, "AccessDenied");
        }
        if !self.in_bucket(&call.bucket, |this| this.bucket.is_some()) {
            return call.error(404, "NoSuchBucket");
        }
        let place = call.place(request);
        let within = format!("{}/", call.bucket);
        let asked = form(request.uri().split_once('?').unwrap_or_default().1);
        let prefix = format!("{within}{}", asked.get("prefix").map_or("", String::as_str));
        let encodes = self.encodes_keys(request);
        let keys = |places: &mut dyn Iterator<Item = &String>, element: &str, more: &str| -> String {
            let keys = places.filter_map(|it| it.strip_prefix(&within));
            keys.map(|key| if encodes { encode(key) } else { key.to_owned() })
                .map(|key| format!("<{element}><Key>{key}</Key>{more}</{element}>"))
                .collect()
        };
        let list = match call.operation.as_str() {
            "ListObjectsV2" => (
                "ListBucketResult",
                keys(&mut self.objects.keys().filter(|it| it.starts_with(&prefix)), "Contents", ""),
            ),
            "ListObjectVersions" => return self.list_versions(request, &within),
            "ListMultipartUploads" => {
                ("ListMultipartUploadsResult", keys(&mut self.uploads.iter(), "Upload", "<UploadId>u</UploadId>"))
            }
            "DeleteObjects" => {
                let deleted = |place: &String| {
                    let key = place.strip_prefix(&within);
                    key.is_some_and(|key| call.body.contains(&format!("<Key>{key}</Key><VersionId>v</VersionId>")))
                };
                self.objects.retain(|place, _| !deleted(place));
                self.versions.retain(|it| !deleted(&it.place));
                return response(200, "<DeleteResult></DeleteResult>");
            }
            operation => {
                return match operation {
                    "HeadBucket" => response(200, ""),
                    "GetObjectLockConfiguration" => match &self.object_lock {
                        Some(document) => response(200, document),
                        None => call.error(404, "ObjectLockConfigurationNotFoundError"),
                    },
                    "HeadObject" => match self.objects.get(&place) {
                        Some(body) => response(200, body),
                        None => call.error(404, "NoSuchKey"),
                    },
                    "UpdateObjectEncryption" if call.body.contains(KEY) => response(200, ""),
                    "UpdateObjectEncryption" => self.refused_by_policy_or_kms(),
                    "GetObject" => match self.objects.get(&place) {
                        Some(body) => response(200, body),
                        None => call.error(404, "NoSuchKey"),
                    },
                    "GetObjectLegalHold" | "GetObjectRetention" => call.error(404, "NoSuchObjectLockConfiguration"),
                    "CopyObject" => {
                        self.objects.insert(place, String::new());
                        response(200, "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>")
                    }
                    "PutObjectAcl" => call.error(400, "AccessControlListNotSupported"),
                    "DeleteObject" => {
                        self.objects.retain(|it, _| encode(it).replace("%2F", "/") != place);
                        response(204, "")
                    }
                    "CreateMultipartUpload" => {
                        self.uploads.insert(place);
                        response(
                            200,
                            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
                        )
                    }
                    "UploadPart" if self.uploads.contains(&place) => response(200, ""),
                    "UploadPartCopy" if self.uploads.contains(&place) => {
                        response(200, "<CopyPartResult><ETag>\"e\"</ETag></CopyPartResult>")
                    }
                    "CompleteMultipartUpload" if self.uploads.remove(&place) => {
                        self.objects.insert(place, String::new());
                        response(
                            200,
                            "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>",
                        )
                    }
                    "AbortMultipartUpload" if self.uploads.remove(&place) => response(204, ""),
                    "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" | "AbortMultipartUpload" => {
                        call.error(404, "NoSuchUpload")
                    }
                    "DeleteBucket" if self.objects.keys().chain(&self.uploads).any(|it| it.starts_with(&within)) => {
                        call.error(409, "BucketNotEmpty")
                    }
                    "DeleteBucket" => {
                        self.in_bucket(&call.bucket, |this| this.bucket = None);
                        response(204, "")
                    }
                    _ => call.error(501, "NotImplemented"),
                };
            }
        };
        let (root, elements) = list;
        let encoding = if encodes { "<EncodingType>url</EncodingType>" } else { "" };
        response(200, &format!("<{root}>{encoding}<IsTruncated>false</IsTruncated>{elements}</{root}>"))
    }

    /// A page of versions and delete markers: 1,000 at most, and where the next one begins.
    pub(super) fn list_versions(&self, request: &HttpRequest, within: &str) -> HttpResponse {
        let asked = form(request.uri().split_once('?').unwrap_or_default().1);
        let encodes = self.encodes_keys(request);
        let objects = self.objects.iter().map(|(place, body)| FakeVersion {
            place: place.clone(),
            latest: true,
            modified: "2026-11-23T09:00:00Z".to_owned(),
            size: Some(body.len() as u64),
        });
        let mut all: Vec<_> = objects.chain(self.versions.iter().cloned()).collect();
        all.retain(|it| it.place.starts_with(within));
        all.sort_by(|a, b| a.place.cmp(&b.place));
        let mut names: Vec<(String, String)> = Vec::new();
        let mut nth = 0;
        for it in &all {
            let key = &it.place[within.len()..];
            nth = if names.last().is_some_and(|last| last.0 == key) { nth + 1 } else { 0 };
            names.push((key.to_owned(), if nth == 0 { "v".to_owned() } else { format!("v{nth}") }));
        }
        let marker = asked.get("key-marker").zip(asked.get("version-id-marker"));
        let after = marker.and_then(|it| names.iter().position(|name| (&name.0, &name.1) == it));
        let start = after.map_or(0, |it| it + 1);
        let end = all.len().min(start + 1000);
        let entries = all[start..end].iter().zip(&names[start..end]).map(|(it, (key, id))| {
            let FakeVersion { latest, modified, size, .. } = it;
            let key = if encodes { encode(key) } else { key.clone() };
            let rest = format!("<Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{latest}</IsLatest><LastModified>{modified}</LastModified>");
            match size {
                Some(size) => format!("<Version>{rest}<Size>{size}</Size></Version>"),
                None => format!("<DeleteMarker>{rest}</DeleteMarker>"),
            }
        });
        let next = if end == all.len() {
            String::new()
        } else {
            let (key, id) = &names[end - 1];
            let key = if encodes { encode(key) } else { key.clone() };
            format!("<NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>{id}</NextVersionIdMarker>")
        };
        let truncated = end < all.len();
        let entries: String = entries.collect();
        let root = "ListVersionsResult";
        let encoding = if encodes { "<EncodingType>url</EncodingType>" } else { "" };
        response(200, &format!("<{root}>{encoding}<IsTruncated>{truncated}</IsTruncated>{next}{entries}</{root}>"))
    }

    /// Whether a list shows keys encoded: as far as it is asked to, and only where XML could not hold one otherwise.
    pub(super) fn encodes_keys(&self, request: &HttpRequest) -> bool {
        request.uri().contains("encoding-type=url") && self.objects.keys().any(|it| it.contains(char::is_control))
    }

    /// What becomes of a wrong key: the policy's own statement refuses it, or KMS, which does not know it.
    pub(super) fn refused_by_policy_or_kms(&self) -> HttpResponse {
        let policy = self.bucket.as_ref().and_then(|it| it.get("policy"));
        if policy.is_some_and(|it| it.contains("DenyWrongKMSKey")) {
            return refused(403, "AccessDenied", "not authorized, with an explicit deny in a resource-based policy");
        }
        refused(400, "KMS.NotFoundException", "Key does not exist")
    }

    /// The names of all buckets, in pages when that is asked for.
    pub(super) fn list_buckets(&self, request: &HttpRequest) -> HttpResponse {
        let asked = form(request.uri().split_once('?').unwrap_or_default().1);
        let asked = |name: &str| asked.get(name).map(String::as_str);
        if self.lists_in_pages_only
            && ["max-buckets", "continuation-token", "prefix", "bucket-region"].iter().all(|it| asked(it).is_none())
        {
            return refused(400, "InvalidRequest", "The account may have too many buckets for one list.");
        }
        let mut all: Vec<&str> = self.others.keys().map(String::as_str).collect();
        all.extend(self.bucket.iter().map(|_| BUCKET));
        all.sort_unstable();
        all.retain(|it| it.starts_with(asked("prefix").unwrap_or_default()));
        all.retain(|it| asked("continuation-token").is_none_or(|token| *it > token));
        all.retain(|_| asked("bucket-region").is_none_or(|it| it == "eu-west-2"));
        let page = asked("max-buckets").and_then(|it| it.parse().ok()).unwrap_or(10_000);
        let token = all.get(page).map(|_| format!("<ContinuationToken>{}</ContinuationToken>", all[page - 1]));
        let buckets: String = all.iter().take(page).map(|it| format!("<Bucket><Name>{it}</Name></Bucket>")).collect();
        response(
            200,
            &format!(
                "<ListAllMyBucketsResult><Buckets>{buckets}</Buckets>{}</ListAllMyBucketsResult>",
                token.unwrap_or_default()
            ),
        )
    }

    pub(super) fn serve_s3(&mut self, request: &HttpRequest, call: &Call) -> HttpResponse {
        if request.headers().get("x-amz-expected-bucket-owner") != Some(ACCOUNT) {
            return call.error(403, "AccessDenied");
        }
        if request.headers().get("x-amz-confirm-remove-self-bucket-access").is_some() {
            return call.error(400, "NeverConfirmThat");
        }
        if self.bucket.is_none() {
            return call.error(404, "NoSuchBucket");
        }
        let checksum = aws_smithy_types::base64::encode(crc32fast::hash(call.body.as_bytes()).to_be_bytes());
        match request.headers().get("x-amz-checksum-crc32") {
            Some(sent) if sent != checksum => return call.error(400, "BadDigest"),
            None if call.operation == "PutBucketLifecycleConfiguration" => return call.error(400, "InvalidRequest"),
            _ => {}
        }
        if request.method() == "DELETE" {
            let absent = SUBRESOURCES.iter().find(|it| it.0 == call.subresource).map_or("", |it| it.3);
            if call.subresource == "inventory" && self.bucket.iter().all(|it| !it.contains_key("inventory")) {
                return call.error(404, absent);
            }
            self.set(&call.subresource, None);
            return response(204, "");
        }
        if request.method() == "GET" {
            let document = self.bucket.as_ref().and_then(|it| it.get(&call.subresource)).cloned();
            return self.read(&call.subresource, document.as_deref());
        }
        let enforced = self
            .bucket
            .iter()
            .any(|it| it.get("ownershipControls").is_some_and(|it| it.contains("BucketOwnerEnforced")));
        match call.subresource.as_str() {
            // Only the root user with its second factor can.
            "versioning"
                if self
                    .bucket
                    .iter()
                    .any(|it| it.get("versioning").is_some_and(|it| it.contains("MfaDelete>Enabled"))) =>
            {
                return call.error(403, "AccessDenied");
            }
            "acl" if enforced => return call.error(400, "AccessControlListNotSupported"),
            "acl" => {
                let granted = granted(request);
                self.set("acl", (!granted.is_empty()).then(|| acl(&granted)).as_deref());
            }
            "ownershipControls" if self.bucket.iter().any(|it| it.contains_key("acl")) => {
                return call.error(400, "InvalidBucketAclWithObjectOwnership");
            }
            "lifecycle" => {
                if let Err((code, message)) = s3_rules::lifecycle_refusal(&call.body) {
                    return refused(400, code, &message);
                }
                self.transition_size = request.headers().get(SIZE_HEADER).map(str::to_owned);
                self.set("lifecycle", Some(&call.body));
            }
            "policy" => self.set("policy", Some(&s3_rules::policy_kept(&call.body))),
            other => self.set(other, Some(&call.body)),
        }
        response(200, "")
    }

    pub(super) fn read(&self, subresource: &str, document: Option<&str>) -> HttpResponse {
        let absent = SUBRESOURCES.iter().find(|it| it.0 == subresource).map_or("", |it| it.3);
        let mut response = match (document, subresource) {
            (Some(document), _) => response(200, document),
            (None, "acl") => response(200, &acl("")),
            (None, "versioning") => response(200, "<VersioningConfiguration/>"),
            (None, "encryption") => response(
                200,
                "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>",
            ),
            (None, _) => response(404, &format!("<Error><Code>{absent}</Code><Message>absent</Message></Error>")),
        };
        if let (true, Some(size)) = (subresource == "lifecycle", &self.transition_size) {
            response.headers_mut().insert(SIZE_HEADER, size.clone());
        }
        response
    }
}
