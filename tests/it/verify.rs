//! `guardrail-verify` on the local AWS: what it proves, and that it leaves nothing.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex},
};

use aws_sdk_s3::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut, retry::RetryConfig,
    },
    error::BoxError,
    primitives::ByteStream,
};
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse, Metadata},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use expect_test::expect_file;
use guardrail::{Guardrail, work::verify::PREFIX};
use guardrail_core::{
    control::table::Control,
    edge::config::{Config, Needs},
    value::failure::chain,
};
use guardrail_tests::{
    control::break_control,
    deploy::Deployment,
    fake::{BUCKET, FakeAws, FaultKind},
    local_aws::{ACCOUNT, REGION},
    matrix::faults,
};
use serde_json::{Value, json};

use crate::{arbitrary::in_order, local::DEPLOYMENT};

/// A guarded bucket with an object of its owner's under the very prefix of the test objects.
struct Verified {
    deployment: &'static Deployment,
    bucket: &'static str,
    s3: Client,
}

const THEIRS: [&str; 2] = ["theirs.txt", "s3-guardrail-verify/theirs.txt"];

impl Verified {
    async fn new(bucket: &'static str) -> Self {
        let (deployment, user) = &*DEPLOYMENT;
        deployment.guard(bucket).unwrap();
        let s3 = Client::from_conf(
            aws_sdk_s3::config::Builder::from(&deployment.aws.sdk(user).unwrap()).force_path_style(true).build(),
        );
        let it = Self { deployment, bucket, s3 };
        for theirs in THEIRS {
            it.put(theirs).await;
        }
        it
    }

    async fn put(&self, name: &str) {
        let key = self.registry()["key_arn"].as_str().unwrap().to_owned();
        let put = self.s3.put_object().bucket(self.bucket).key(name).server_side_encryption("aws:kms".into());
        put.ssekms_key_id(key).send().await.unwrap();
    }

    fn administrator(&self, arguments: &[&str]) -> Value {
        let said = self.deployment.aws.aws(&self.deployment.administrator, arguments).unwrap();
        serde_json::from_str(&said).unwrap_or_default()
    }

    fn registry(&self) -> Value {
        let name = format!("/s3-guardrail/buckets/{}", self.bucket);
        let text = self.administrator(&["ssm", "get-parameter", "--name", &name, "--query", "Parameter.Value"]);
        serde_json::from_str(text.as_str().unwrap()).unwrap()
    }

    fn register(&self, change: impl FnOnce(&mut Value)) {
        let mut document = self.registry();
        change(&mut document);
        let name = format!("/s3-guardrail/buckets/{}", self.bucket);
        let put = ["ssm", "put-parameter", "--overwrite", "--type", "String", "--name", &name, "--value"];
        self.administrator(&[&put[..], &[&document.to_string()]].concat());
    }

    fn verify(&self, more: Value) -> Value {
        let mut input = json!({"bucket": self.bucket});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.deployment.invoke("guardrail-verify", &input).unwrap().unwrap()
    }

    async fn policy(&self) -> Value {
        let policy = self.s3.get_bucket_policy().bucket(self.bucket).send().await.unwrap();
        serde_json::from_str(policy.policy().unwrap()).unwrap()
    }

    fn config(&self) -> Config {
        let vars = |name: &str| match name {
            "GUARDRAIL_TOPIC_ARN" => Some(format!("arn:aws:sns:{REGION}:{ACCOUNT}:alerts")),
            "GUARDRAIL_ROLE_ARN" => Some(self.deployment.role_arn.clone()),
            "GUARDRAIL_HTTP_ENDPOINT_URL" => Some(self.deployment.aws.http.clone()),
            "AWS_REGION" => Some(REGION.to_owned()),
            _ => None,
        };
        Config::from_vars(Needs::NoQueue, vars).unwrap()
    }

    /// Removes all test objects, whoever left them.
    async fn clean_up(&self) {
        let list = self.s3.list_object_versions().bucket(self.bucket).prefix(PREFIX).send().await.unwrap();
        for version in list.versions().iter().filter(|it| !THEIRS.contains(&it.key().unwrap())) {
            let delete = self.s3.delete_object().bucket(self.bucket).key(version.key().unwrap());
            delete.version_id(version.version_id().unwrap()).send().await.unwrap();
        }
        let uploads = self.s3.list_multipart_uploads().bucket(self.bucket).send().await.unwrap();
        for upload in uploads.uploads() {
            let abort = self.s3.abort_multipart_upload().bucket(self.bucket).key(upload.key().unwrap());
            abort.upload_id(upload.upload_id().unwrap()).send().await.unwrap();
        }
    }

    /// Every version and delete marker of the bucket is one of the owner's, and there is one of each.
    async fn only_theirs_is_left(&self) {
        let list = self.s3.list_object_versions().bucket(self.bucket).send().await.unwrap();
        let mut keys: Vec<_> = list.versions().iter().map(|it| it.key().unwrap()).collect();
        keys.extend(list.delete_markers().iter().map(|it| it.key().unwrap()));
        keys.sort_unstable();
        let mut theirs = THEIRS;
        theirs.sort_unstable();
        assert_eq!(keys, theirs);
        let uploads = self.s3.list_multipart_uploads().bucket(self.bucket).send().await.unwrap();
        assert!(uploads.uploads().is_empty(), "{uploads:?}");
    }
}

/// What cannot be tried here: the local AWS does not change the encryption of stored objects.
const UNTRIED: [(&str, &str); 2] = [("update-encryption-with-wrong-key", "skipped"), ("tls-floor", "skipped")];

/// Name and outcome of every proof whose outcome is not `proven`.
fn unproven(answer: &Value) -> Vec<(&str, &str)> {
    let proofs = answer["proofs"].as_array().unwrap().iter();
    let all = proofs.map(|it| (it["name"].as_str().unwrap(), it["outcome"].as_str().unwrap()));
    all.filter(|it| it.1 != "proven").collect()
}

#[tokio::test]
async fn a_guarded_bucket_is_proven_and_nothing_is_left() {
    let it = Verified::new("it-verified").await;
    // Of a run that was killed.
    it.put("s3-guardrail-verify/20260101T000000Z-00000000/put-with-key").await;
    let before = it.policy().await;
    let answer = it.verify(json!({}));
    assert_eq!(unproven(&answer), UNTRIED, "{answer:#}");
    assert_eq!(answer["proofs"].as_array().unwrap().len(), 19);
    assert_eq!((&answer["outcome"], &answer["error"]), (&json!("proven"), &Value::Null), "{answer:#}");
    assert_eq!(answer["left_behind"], json!([]));
    for proof in answer["proofs"].as_array().unwrap() {
        assert!(proof["outcome"] == "skipped" || proof["request_id"].is_string(), "{proof}");
    }
    it.only_theirs_is_left().await;
    assert_eq!(in_order(&it.policy().await), in_order(&before));
}

#[tokio::test]
async fn the_evidence_is_stored_encrypted_and_tells_nothing_unless_it_should() {
    let it = Verified::new("it-evidence").await;
    let key = it.registry()["key_arn"].as_str().unwrap().to_owned();
    let key_id = key.rsplit('/').next().unwrap();
    for redact in [true, false] {
        let answer = it.verify(json!({"redact": redact}));
        let (bucket, keys) = (&answer["report"]["bucket"], answer["report"]["keys"].as_array().unwrap());
        assert_eq!((bucket, keys.len()), (&json!("it-logs"), 2));
        for stored in keys.iter().map(|it| it.as_str().unwrap()) {
            assert!(stored.starts_with("s3-guardrail/evidence/it-evidence/20"), "{stored}");
            let object = it.s3.get_object().bucket("it-logs").key(stored).send().await.unwrap();
            assert_eq!(object.ssekms_key_id(), Some(key.as_str()));
            let text = String::from_utf8(object.body.collect().await.unwrap().to_vec()).unwrap();
            assert_eq!(text.contains(ACCOUNT) || text.contains(key_id), !redact, "{text}");
            if stored.ends_with(".md") {
                assert_eq!(answer["markdown"], text);
            } else {
                let evidence: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(evidence["proofs"], answer["proofs"]);
            }
        }
    }
}

#[tokio::test]
async fn evidence_that_cannot_be_stored_is_told_and_returned() {
    let it = Verified::new("it-unstored").await;
    it.register(|document| document["log_bucket"] = json!("it-no-such-bucket"));
    let answer = it.verify(json!({}));
    assert_eq!((&answer["outcome"], &answer["report"]), (&json!("proven"), &Value::Null));
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("not stored") && error.contains("NoSuchBucket"), "{error}");
    assert!(answer["markdown"].as_str().unwrap().contains("# Secure baseline of `it-unstored`: proven"));
}

#[tokio::test]
async fn a_policy_without_its_key_statement_is_disproven() {
    let it = Verified::new("it-disproven").await;
    it.register(|document| document["mode"] = json!("observe"));
    let mut policy = it.policy().await;
    policy["Statement"].as_array_mut().unwrap().retain(|it| it["Sid"] != "DenyWrongKMSKey");
    it.s3.put_bucket_policy().bucket(it.bucket).policy(policy.to_string()).send().await.unwrap();
    let answer = it.verify(json!({}));
    let disproven = [("put-with-wrong-key", "disproven"), ("put-without-key-id", "disproven")];
    assert_eq!(unproven(&answer), [disproven, UNTRIED].concat(), "{answer:#}");
    assert_eq!(answer["outcome"], "disproven");
    assert!(answer["markdown"].as_str().unwrap().contains("put-with-wrong-key: **DISPROVEN**"));
    it.only_theirs_is_left().await;
    assert_eq!(in_order(&it.policy().await), in_order(&policy));
}

#[tokio::test]
async fn uploads_without_headers_are_kept_as_the_default_says_when_the_registry_says_so() {
    let it = Verified::new("it-by-default").await;
    it.register(|document| document["policy"] = json!("default-encryption"));
    it.deployment.invoke("guardrail-remediate", &json!({"bucket": it.bucket})).unwrap().unwrap();
    let answer = it.verify(json!({}));
    assert_eq!(unproven(&answer), UNTRIED, "{answer:#}");
    it.only_theirs_is_left().await;
}

#[tokio::test]
async fn an_open_door_is_not_pushed() {
    let it = Verified::new("it-open").await;
    it.register(|document| document["mode"] = json!("observe"));
    for control in [Control::PublicAccessBlock, Control::ObjectOwnership] {
        break_control(&it.s3, it.bucket, control).await.unwrap();
    }
    let acl = async || it.s3.get_bucket_acl().bucket(it.bucket).send().await.unwrap().grants.unwrap();
    let before = (it.policy().await, acl().await);
    let answer = it.verify(json!({}));
    let open = ["public-object-acl", "public-bucket-acl", "public-policy"].map(|it| (it, "disproven"));
    assert_eq!(unproven(&answer), [&UNTRIED, open.as_slice()].concat(), "{answer:#}");
    assert!(answer["markdown"].as_str().unwrap().contains("it was not tried"));
    assert_eq!((in_order(&it.policy().await), acl().await), (in_order(&before.0), before.1));
    it.only_theirs_is_left().await;
}

#[tokio::test]
async fn what_cannot_be_removed_is_named() {
    let it = Verified::new("it-left-behind").await;
    it.register(|document| document["mode"] = json!("observe"));
    let before = it.policy().await;
    let mut policy = before.clone();
    let keep = json!({"Sid": "Keep", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObjectVersion", "Resource": format!("arn:aws:s3:::{}/*", it.bucket)});
    policy["Statement"].as_array_mut().unwrap().push(keep);
    it.s3.put_bucket_policy().bucket(it.bucket).policy(policy.to_string()).send().await.unwrap();
    let answer = it.verify(json!({}));
    let left = answer["left_behind"].as_array().unwrap();
    // Two versions of one key, the multipart upload, and the copy that is the control.
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(left.iter().all(|it| it.as_str().unwrap().starts_with(PREFIX)), "{left:?}");
    assert!(answer["error"].as_str().unwrap().contains("could not all be removed"), "{answer:#}");
    assert!(answer["markdown"].as_str().unwrap().contains("## Left behind"));
}

#[tokio::test]
async fn plain_http_goes_to_the_buckets_own_address_on_aws() {
    let fake = FakeAws::guarded();
    let s3 = fake.guardrail().s3_over_http.unwrap();
    let _ = s3.list_objects_v2().bucket(BUCKET).send().await;
    let asked = fake.state().uris.clone();
    assert!(!asked.is_empty(), "asked");
    assert!(asked.iter().all(|it| it.starts_with("http://acme-data.s3.eu-west-2.amazonaws.com/")), "{asked:?}");
}

#[tokio::test]
async fn a_bucket_that_is_not_guarded_is_an_error() {
    let (deployment, _) = &*DEPLOYMENT;
    for (input, part) in [
        (json!({"bucket": "it-nobodys"}), "it-nobodys is not guarded"),
        (json!({"bucket": "it-nobodys", "dry_run": true}), "dry_run: unknown field"),
    ] {
        let error = deployment.invoke("guardrail-verify", &input).unwrap().unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

/// S3 takes what it must refuse, and the answer is lost: the bucket would stay open.
#[tokio::test]
async fn what_opens_the_bucket_is_undone_even_if_nobody_heard_that_it_did() {
    let fake = FakeAws::compliant().await;
    let on = "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
    fake.set("ownershipControls", Some(on));
    let before = fake.documents();
    let guardrail = fake.guardrail();
    for call in ["PutBucketAcl", "PutBucketPolicy"] {
        // Each of the SDK's three attempts, and not the way back.
        fake.fail(call, 3, FaultKind::Unheard);
    }
    let answer = guardrail::work::verify::verify(&guardrail, json!({"bucket": BUCKET})).await.unwrap();
    // The policy in S3's words.
    let policy = |documents: &BTreeMap<String, String>| in_order(&serde_json::from_str(&documents["policy"]).unwrap());
    let mut after = fake.documents();
    assert_eq!(policy(&after), policy(&before));
    after.insert("policy".to_owned(), before["policy"].clone());
    assert_eq!(after, before);
    let unproven = unproven(&answer);
    for name in ["public-bucket-acl", "public-policy"] {
        assert!(unproven.contains(&(name, "inconclusive")), "{unproven:?}");
    }
    let puts = |call: &str| fake.state().calls.iter().filter(|it| *it == call).count();
    assert_eq!((puts("PutBucketAcl"), puts("PutBucketPolicy")), (4, 4), "{answer:#}");
}

#[tokio::test]
async fn where_test_objects_would_be_kept_for_years_none_is_written() {
    let lock = |rule: &str| {
        format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
        )
    };
    let kept = |retention: &str| Some(lock(&format!("<Rule><DefaultRetention>{retention}</DefaultRetention></Rule>")));
    for (lock, fault, parts) in [
        (kept("<Mode>COMPLIANCE</Mode><Years>7</Years>"), None, ["7 years in mode COMPLIANCE", "nothing was tried"]),
        (kept("<Mode>GOVERNANCE</Mode><Days>30</Days>"), None, ["30 days in mode GOVERNANCE", "nothing was tried"]),
        (kept("<InventedIn2027/>"), None, ["an unknown time", "nothing was tried"]),
        // The rule may be in the half that did not come.
        (Some(lock("")), Some(FaultKind::Truncated), ["GetObjectLockConfiguration", "nothing was tried"]),
        (
            None,
            Some(FaultKind::Answer(403, "AccessDenied")),
            ["GetObjectLockConfiguration: AccessDenied", "nothing was tried"],
        ),
    ] {
        let fake = FakeAws::compliant().await;
        fake.state().object_lock.clone_from(&lock);
        if let Some(fault) = fault {
            fake.fail("GetObjectLockConfiguration", 9, fault);
        }
        let guardrail = fake.guardrail();
        let refused = guardrail::work::verify::verify(&guardrail, json!({"bucket": BUCKET})).await.unwrap_err();
        let error = chain(&refused);
        assert!(parts.iter().all(|it| error.contains(it)), "{error}");
        let wrote = |it: &String| ["Put", "Create", "Copy", "Upload", "Delete"].iter().any(|verb| it.starts_with(verb));
        assert!(!fake.state().calls.iter().any(wrote), "{:?}", fake.state().calls);
    }
    let fake = FakeAws::compliant().await;
    fake.state().object_lock = Some(lock(""));
    let guardrail = fake.guardrail();
    guardrail::work::verify::verify(&guardrail, json!({"bucket": BUCKET})).await.unwrap();
}

#[tokio::test]
async fn that_a_stored_object_gets_no_other_key_is_proven_by_trying() {
    let outcome = async |fake: &FakeAws| {
        let guardrail = fake.guardrail();
        let answer = guardrail::work::verify::verify(&guardrail, json!({"bucket": BUCKET})).await.unwrap();
        let proofs = answer["proofs"].as_array().unwrap();
        let proof = proofs.iter().find(|it| it["name"] == "update-encryption-with-wrong-key").unwrap();
        (proof["outcome"].as_str().unwrap().to_owned(), proof["reason"].as_str().unwrap_or_default().to_owned())
    };
    let fake = FakeAws::compliant().await;
    assert_eq!(outcome(&fake).await.0, "proven");
    let policy = fake.documents()["policy"].clone();
    fake.set("policy", Some(&policy.replace("DenyWrongKMSKey", "Theirs")));
    assert_eq!(
        outcome(&fake).await,
        ("disproven".to_owned(), "the bucket's policy let it through: it was KMS that refused".to_owned())
    );
    for (status, code) in [(501, "NotImplemented"), (405, "MethodNotAllowed"), (403, "AccessDenied")] {
        fake.fail("UpdateObjectEncryption", 3, FaultKind::Answer(status, code));
        let (outcome, reason) = outcome(&fake).await;
        assert!(outcome == "skipped" && reason.contains(code), "{code}: {outcome} {reason}");
        fake.state().heal();
    }
    fake.fail("UpdateObjectEncryption", 3, FaultKind::Reset);
    assert_eq!(outcome(&fake).await.0, "inconclusive");
    fake.state().heal();
    // An S3 that does not know the call writes its body as the object.
    fake.before("UpdateObjectEncryption", |state| state.objects.values_mut().for_each(|it| it.push_str("<x/>")));
    let (outcome, reason) = outcome(&fake).await;
    assert!(outcome == "skipped" && reason.contains("taken for an upload"), "{outcome} {reason}");
}

/// An HTTP client that makes calls of one operation go wrong, and notes which operations there are, and how often.
#[derive(Clone, Debug)]
struct Troubled {
    inner: SharedHttpClient,
    /// The operation, its fault, and how often that strikes.
    fault: Arc<Mutex<Option<(String, FaultKind, usize)>>>,
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// Tells the client below which operation a request is.
#[derive(Debug)]
struct Named;

/// The header that does.
const OPERATION: &str = "operation";

impl Intercept for Named {
    fn name(&self) -> &'static str {
        "Named"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let name = config.load::<Metadata>().map(|it| it.name().to_owned()).unwrap_or_default();
        context.request_mut().headers_mut().insert(OPERATION, name);
        Ok(())
    }
}

impl HttpClient for Troubled {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, troubled: self.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    troubled: Troubled,
}

impl HttpConnector for Connector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers_mut().remove(OPERATION).unwrap_or_default();
        let kind = self.troubled.strikes(operation);
        let answered = |status: u16, body: String| {
            Ok(HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body)))
        };
        match kind {
            // It comes from nobody then, and the local AWS itself denies it, in the words of each of its services.
            Some(FaultKind::Answer(403, _)) => {
                request.headers_mut().remove("authorization");
                self.inner.call(request)
            }
            Some(FaultKind::Answer(status, code)) => HttpConnectorFuture::ready(answered(
                status,
                match request.headers().get("x-amz-target") {
                    Some(_) => json!({"__type": code}).to_string(),
                    None => format!("<Error><Code>{code}</Code><Message>no</Message></Error>"),
                },
            )),
            Some(FaultKind::Timeout) => HttpConnectorFuture::ready(Err(ConnectorError::timeout("no answer".into()))),
            Some(FaultKind::Reset) => HttpConnectorFuture::ready(Err(ConnectorError::io("connection reset".into()))),
            Some(kind) => {
                let answer = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    let mut answer = answer.await?;
                    match kind {
                        FaultKind::Slow => return Err(ConnectorError::timeout("too late".into())),
                        FaultKind::Malformed => *answer.body_mut() = SdkBody::from("<html>{\"busy"),
                        FaultKind::Truncated => {
                            let body = ByteStream::new(std::mem::replace(answer.body_mut(), SdkBody::taken()));
                            let body = body.collect().await.map_err(|it| ConnectorError::io(it.into()))?.to_vec();
                            *answer.body_mut() = SdkBody::from(&body[..body.len() / 2]);
                        }
                        other => panic!("{other:?}"),
                    }
                    Ok(answer)
                })
            }
            None => self.inner.call(request),
        }
    }
}

impl Troubled {
    fn new(it: &Verified) -> Self {
        let aws = it.deployment.aws.sdk(&DEPLOYMENT.1).unwrap();
        Self { inner: aws.http_client().unwrap(), fault: Arc::default(), seen: Arc::default() }
    }

    /// How this call goes wrong.
    fn strikes(&self, operation: String) -> Option<FaultKind> {
        let mut fault = self.fault.lock().unwrap();
        let kind = fault.as_mut().filter(|it| it.0 == operation && it.2 > 0).map(|it| {
            it.2 -= 1;
            it.1.clone()
        });
        *self.seen.lock().unwrap().entry(operation).or_default() += 1;
        kind
    }

    /// `guardrail-verify` in this process, on the same AWS. Nothing is tried again: each fault is final.
    fn guardrail(&self, it: &Verified) -> Guardrail {
        // Policies do not bind the administrator here.
        let [user, administrator] = [&DEPLOYMENT.1, &it.deployment.administrator].map(|keys| {
            let aws = it.deployment.aws.sdk(keys).unwrap().into_builder();
            let aws = aws.retry_config(RetryConfig::disabled()).http_client(self.clone());
            Guardrail::new(it.config(), &aws.build())
        });
        macro_rules! named {
            ($client:expr, $sdk:ident) => {
                $sdk::Client::from_conf($client.config().to_builder().interceptor(Named).build())
            };
        }
        Guardrail {
            s3: named!(user.s3, aws_sdk_s3),
            s3_over_http: user.s3_over_http.as_ref().map(|it| named!(it, aws_sdk_s3)),
            ssm: named!(administrator.ssm, aws_sdk_ssm),
            kms: named!(administrator.kms, aws_sdk_kms),
            cloudtrail: named!(administrator.cloudtrail, aws_sdk_cloudtrail),
            ..administrator
        }
    }
}

/// What comes of a verification of which some calls go wrong, in a few words.
async fn cell(it: &Verified, guardrail: &Guardrail, operation: &str, kind: &FaultKind) -> String {
    let answer = match Box::pin(guardrail::work::verify::verify(guardrail, json!({"bucket": it.bucket}))).await {
        Ok(answer) => answer,
        Err(error) => {
            let error = chain(&error);
            assert!(error.contains(operation), "{operation} {kind:?}: {error}");
            return "error".to_owned();
        }
    };
    let unproven = unproven(&answer);
    let refuted: Vec<_> = unproven.iter().filter(|it| it.1 == "disproven").map(|it| it.0).collect();
    let refutable: &[&str] = match (kind, operation) {
        // Whom nobody lets upload has disproven that uploads are let through, and nothing else.
        (FaultKind::Answer(403, _), _) => &["put-with-key", "multipart-with-key"],
        // An object is whatever comes.
        (FaultKind::Malformed, "GetObject") => &["anonymous-read"],
        _ => &[],
    };
    let all = refuted.iter().all(|it| refutable.contains(it));
    assert!(all, "{operation} {kind:?}: {refuted:?} {answer:#}");
    let unknown = unproven.iter().filter(|it| it.1 == "inconclusive").count();
    let outcome = match answer["outcome"].as_str().unwrap() {
        "inconclusive" => format!("unknown {unknown}"),
        "proven" => "proven".to_owned(),
        "disproven" => format!("refuted {}", refuted.len()),
        other => panic!("{other}"),
    };
    let left = match answer["left_behind"].as_array().unwrap().len() {
        0 => {
            // What could not be removed is named, and only that is there.
            it.only_theirs_is_left().await;
            String::new()
        }
        n => format!(" +{n}"),
    };
    let told = if answer["error"].is_null() { "" } else { "!" };
    assert!(left.is_empty() || told == "!", "{operation} {kind:?}: nobody is told of what is left");
    format!("{outcome}{left}{told}")
}

const LEGEND: &str = "\
# Faults, while the baseline is proven

Every call of `guardrail-verify` on the local AWS goes wrong in the ways that
[FAULTS.md](FAULTS.md) explains, and is not tried again. Made by `UPDATE_EXPECT=1 cargo test --test it whatever_call`,
and held to it by `cargo test`. What is stale is left out: the settings do not change meanwhile, and S3 shows every
object that was written.

| cell | |
|---|---|
| proven | the proofs do not need it |
| unknown 2 | so many proofs are inconclusive |
| refuted 1 | so many are disproven: who may not upload has shown that not everybody may, and a page that nobody asked for is an object that came |
| error | nothing is proven, and the call is named |
| +4 | so many test objects and uploads could not be removed, and are named |
| ! | the answer says what else went wrong |

Behind the slash, when it goes wrong for good; before it, only the first time, where there are several. In none of them
does anything count as proven or disproven that another call says, the bucket's policy is as it was, and what stays of
the test objects is named.
";

/// See [`LEGEND`].
#[tokio::test]
async fn whatever_call_fails_nothing_is_disproven_by_it_and_nothing_stays() {
    let it = Verified::new("it-verify-troubled").await;
    let before = it.policy().await;
    let troubled = Troubled::new(&it);
    let guardrail = troubled.guardrail(&it);
    let answer = Box::pin(guardrail::work::verify::verify(&guardrail, json!({"bucket": it.bucket}))).await.unwrap();
    assert_eq!(answer["outcome"], "proven", "{:?}", unproven(&answer));
    let operations = std::mem::take(&mut *troubled.seen.lock().unwrap());
    let faults = faults().into_iter().filter(|it| !matches!(it.1, FaultKind::Lagging(_))).collect::<Vec<_>>();
    let mut table = format!("{:<33}", "");
    faults.iter().for_each(|it| write!(table, "{:<24}", it.0).unwrap());
    for (operation, calls) in operations {
        write!(table, "\n{operation:<33}").unwrap();
        for (_, kind) in &faults {
            let mut cells = Vec::new();
            for times in [1, usize::MAX].into_iter().skip(usize::from(calls == 1)) {
                *troubled.fault.lock().unwrap() = Some((operation.clone(), kind.clone(), times));
                cells.push(cell(&it, &guardrail, &operation, kind).await);
                *troubled.fault.lock().unwrap() = None;
                assert_eq!(in_order(&it.policy().await), in_order(&before), "{operation} {kind:?}");
                it.clean_up().await;
            }
            cells.dedup();
            write!(table, "{:<24}", cells.join("/")).unwrap();
        }
    }
    let table: Vec<_> = table.lines().map(str::trim_end).collect();
    expect_file!["../FAULTS-verify.md"].assert_eq(&format!("{LEGEND}\n```text\n{}\n```\n", table.join("\n")));
}
