//! A careful guest, over the fake: what adopting a bucket that is there would break or destroy is said before anything
//! is written, and what would be refused half-way is refused at once.

use guardrail::work::bootstrap::bootstrap;
use guardrail_core::value::failure::chain;
use guardrail_tests::fake::{ACCOUNT, BUCKET, FakeAws, FakeKey, FakeVersion, FaultKind, KEY, ROLE, TRAIL, acl};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

async fn build(fake: &FakeAws, more: Value) -> Result<Value, String> {
    let mut request = json!({"bucket": BUCKET});
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    Box::pin(bootstrap(&fake.guardrail(), request)).await.map_err(|error| chain(&error))
}

/// A bucket of somebody's, with nothing set.
fn theirs() -> FakeAws {
    let fake = FakeAws::default();
    fake.state().bucket = Some(Default::default());
    fake
}

/// What is said to break, and whether it was accepted.
fn adoption(answer: &Value) -> Vec<(String, bool)> {
    let losses = answer["adoption"].as_array().unwrap().iter();
    losses.map(|it| (it["breaks"].as_str().unwrap().to_owned(), it["accepted"].as_bool().unwrap())).collect()
}

fn days_ago(days: i64) -> String {
    (Timestamp::now() - SignedDuration::from_hours(24 * days)).to_string()
}

fn version(key: &str, latest: bool, days: i64, size: Option<u64>) -> FakeVersion {
    FakeVersion { place: format!("{BUCKET}/{key}"), latest, modified: days_ago(days), size }
}

fn grant(kind: &str, element: &str, who: &str) -> String {
    acl(&format!(
        "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\"><{element}>{who}</{element}></Grantee><Permission>READ</Permission></Grant>"
    ))
}

fn replication(more: &str, destination: &str) -> String {
    format!(
        "<ReplicationConfiguration><Role>arn:aws:iam::{ACCOUNT}:role/copy</Role><Rule><ID>to-dr</ID><Priority>1</Priority><Status>Enabled</Status><Filter/>{more}<Destination><Bucket>arn:aws:s3:::acme-dr</Bucket>{destination}</Destination></Rule></ReplicationConfiguration>"
    )
}

const SELECTED: &str = "<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects></SourceSelectionCriteria>";
const ENCRYPTED: &str = "<EncryptionConfiguration><ReplicaKmsKeyID>arn:aws:kms:eu-west-1:111122223333:key/dr</ReplicaKmsKeyID></EncryptionConfiguration>";

fn keeps(id: &str, filter: &str, days: u32, more: &str) -> String {
    format!(
        "<LifecycleConfiguration><Rule><ID>{id}</ID>{filter}<Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays>{more}</NoncurrentVersionExpiration></Rule></LifecycleConfiguration>"
    )
}

/// Stops before the first write, naming each and the way; a dry run says the same; accepted, it goes on.
async fn check_stops(fake: &FakeAws, names: &[&str], words: &[&str]) {
    let before = fake.state().world();
    let error = build(fake, json!({})).await.unwrap_err();
    let flags = format!("--accept {}`", names.join(","));
    for word in names.iter().chain(words).chain(&["nothing was changed", flags.as_str(), "\"accept\":["]) {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
    let dry = build(fake, json!({"dry_run": true})).await.unwrap();
    let all = |accepted| names.iter().map(|it| ((*it).to_owned(), accepted)).collect::<Vec<_>>();
    assert_eq!(adoption(&dry), all(false), "{dry}");
    assert_eq!(fake.writes(), Vec::<String>::new());
    assert_eq!(fake.state().world(), before);
    for left_out in 0..names.len() {
        let accept: Vec<_> = names.iter().enumerate().filter(|it| it.0 != left_out).map(|it| it.1).collect();
        let error = build(fake, json!({"accept": accept})).await.unwrap_err();
        assert!(error.contains(&format!("--accept {}`", names[left_out])), "{error}");
        assert_eq!(fake.writes(), Vec::<String>::new());
    }
    let built = build(fake, json!({"accept": names})).await.unwrap();
    assert_eq!(adoption(&built), all(true), "{built}");
    let again = build(fake, json!({})).await.unwrap();
    assert_eq!((adoption(&again), &again["outcome"]), (Vec::new(), &json!("compliant")), "{again}");
}

#[tokio::test]
async fn what_adoption_would_break_stops_it_until_it_is_accepted_by_name() {
    let fake = theirs();
    fake.set(
        "website",
        Some("<WebsiteConfiguration><IndexDocument><Suffix>start.html</Suffix></IndexDocument></WebsiteConfiguration>"),
    );
    check_stops(&fake, &["breaks-website"], &["start.html", "CloudFront"]).await;

    let fake = theirs();
    fake.set(
        "acl",
        Some(&grant("CanonicalUser", "ID", "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be")),
    );
    check_stops(
        &fake,
        &["drops-acl-grants"],
        &["79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be READ"],
    )
    .await;

    let fake = theirs();
    fake.set("acl", Some(&grant("Group", "URI", "http://acs.amazonaws.com/groups/global/AuthenticatedUsers")));
    check_stops(&fake, &["breaks-public-read", "drops-acl-grants"], &["AuthenticatedUsers READ"]).await;

    for (more, destination) in
        [("", ""), (SELECTED, ""), ("", ENCRYPTED), (&SELECTED.replace("Enabled", "Disabled"), ENCRYPTED)]
    {
        let fake = theirs();
        fake.set("replication", Some(&replication(more, destination)));
        check_stops(&fake, &["breaks-replication"], &["`to-dr`", "arn:aws:s3:::acme-dr", "SseKmsEncryptedObjects"])
            .await;
    }

    let fake = theirs();
    fake.state().versions.push(version("invoice.pdf", true, 1, Some(12)));
    check_stops(&fake, &["denies-uploads"], &["cannot be seen from here", "default-encryption", "Before you enforce"])
        .await;
}

#[tokio::test]
async fn several_are_named_at_once() {
    let fake = theirs();
    fake.set("website", Some("<WebsiteConfiguration><RedirectAllRequestsTo><HostName>example.com</HostName></RedirectAllRequestsTo></WebsiteConfiguration>"));
    fake.set("replication", Some(&replication("", "")));
    fake.state().versions.push(version("a", true, 90, Some(1)));
    check_stops(&fake, &["breaks-website", "breaks-replication", "denies-uploads"], &["example.com"]).await;
}

#[tokio::test]
async fn what_does_no_harm_stops_nothing() {
    let fake = theirs();
    fake.set("replication", Some(&replication(SELECTED, ENCRYPTED)));
    assert_eq!(adoption(&build(&fake, json!({})).await.unwrap()), []);
    let fake = theirs();
    fake.set("replication", Some(&replication("", "").replace("<Status>Enabled", "<Status>Disabled")));
    // ACLs that are off already grant nothing.
    fake.set("ownershipControls", Some("<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"));
    fake.set("acl", Some(&grant("Group", "URI", "http://acs.amazonaws.com/groups/s3/LogDelivery")));
    assert_eq!(adoption(&build(&fake, json!({})).await.unwrap()), []);
}

#[tokio::test]
async fn a_new_bucket_and_a_guarded_one_are_never_stopped() {
    let built = build(&FakeAws::default(), json!({})).await.unwrap();
    assert_eq!(built["adoption"], json!([]));
    // Somebody uses it in every way since.
    let fake = FakeAws::default();
    build(&fake, json!({})).await.unwrap();
    fake.set(
        "website",
        Some("<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>"),
    );
    fake.set("replication", Some(&replication("", "")));
    for broken in ["publicAccessBlock", "ownershipControls", "policy", "encryption", "lifecycle"] {
        fake.set(broken, None);
    }
    fake.set("acl", Some(&grant("Group", "URI", "http://acs.amazonaws.com/groups/global/AllUsers")));
    fake.state().versions.extend([version("a", true, 200, Some(1)), version("a", false, 300, Some(1))]);
    let again = build(&fake, json!({})).await.unwrap();
    assert_eq!((&again["outcome"], &again["adoption"]), (&json!("restored"), &json!([])), "{again}");
}

#[tokio::test]
async fn a_public_statement_is_told_and_where_s3_would_refuse_the_policy_nothing_is_written() {
    let public = json!({"Sid": "Pictures", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/pictures/*"), "Condition": {"StringLike": {"aws:Referer": "https://example.com/*"}}});
    let fake = theirs();
    fake.set("policy", Some(&json!({"Version": "2012-10-17", "Statement": [public]}).to_string()));
    let error = build(&fake, json!({"accept": ["breaks-public-read"]})).await.unwrap_err();
    assert!(error.contains("would be refused: bucket-policy of acme-data") && error.contains("`Pictures`"), "{error}");
    assert_eq!(fake.writes(), Vec::<String>::new());
    let dry = build(&fake, json!({"dry_run": true})).await.unwrap();
    assert_eq!(adoption(&dry), [("breaks-public-read".to_owned(), false)]);
    assert!(dry["refusals"][0].as_str().unwrap().contains("`Pictures`"), "{dry}");

    // With ours in it already, the policy stays as it is, and only the statement's effect ends.
    let fake = FakeAws::compliant().await;
    fake.state().parameters.clear();
    fake.state().key.as_mut().unwrap().aliases = [("alias/s3-secure-data".to_owned(), KEY.to_owned())].into();
    fake.set("publicAccessBlock", None);
    let mut policy: Value = serde_json::from_str(&fake.documents()["policy"]).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(public.clone());
    fake.set("policy", Some(&policy.to_string()));
    check_stops(&fake, &["breaks-public-read"], &["`Pictures`"]).await;

    // Whom a condition names is not anybody.
    let fake = theirs();
    let mut narrowed = public;
    narrowed["Condition"] = json!({"StringEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}});
    fake.set("policy", Some(&json!({"Version": "2012-10-17", "Statement": narrowed}).to_string()));
    assert_eq!(adoption(&build(&fake, json!({})).await.unwrap()), []);
}

#[tokio::test]
async fn versions_that_our_rule_would_delete_are_counted_and_must_be_accepted() {
    let fake = theirs();
    fake.state().versions.extend([
        version("a", true, 2, Some(5)),
        // Old, and current until two days ago.
        version("a", false, 400, Some(7)),
        version("b", true, 40, None),
        version("b", false, 41, Some(1_500_000_000)),
        version("b", false, 90, None),
        version("b", false, 91, Some(2_000_000_000)),
    ]);
    fake.set("versioning", Some("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"));
    check_stops(&fake, &["deletes-versions", "denies-uploads"], &["acme-data): 2 versions (3.5 GB)", "30 days"]).await;
}

#[tokio::test]
async fn what_is_counted_has_an_end_and_pages_have_none_between_versions() {
    let many = |keys: usize| {
        let fake = theirs();
        let pair = |n: usize| {
            [version(&format!("{n:06}"), true, 60, Some(1)), version(&format!("{n:06}"), false, 61, Some(1))]
        };
        fake.state().versions.push(version("0", true, 1, Some(1)));
        fake.state().versions.extend((1..=keys).flat_map(pair));
        fake
    };
    // Each page ends between the two versions of a key.
    for (keys, words) in [(1_700, ": 1700 versions (1.7 KB)"), (6_000, ": at least 4999 versions (4.9 KB)")] {
        let fake = many(keys);
        let error = build(&fake, json!({})).await.unwrap_err();
        assert!(error.contains(words), "{keys}: {error}");
        let pages = fake.state().calls.iter().filter(|it| *it == "ListObjectVersions").count();
        assert_eq!(pages, if keys == 6_000 { 10 } else { 4 });
    }
}

#[tokio::test]
async fn an_owners_longer_time_is_taken_over_and_said() {
    for filter in ["<Filter/>", "<Filter><Prefix>contracts/</Prefix></Filter>"] {
        let fake = theirs();
        fake.set("lifecycle", Some(&keeps("legal", filter, 120, "")));
        // What the owner's time keeps, nothing deletes.
        fake.state()
            .versions
            .extend([version("contracts/a", true, 50, None), version("contracts/a", false, 60, Some(1))]);
        let accept = json!({"accept": ["denies-uploads"]});
        let built = build(&fake, accept.clone()).await.unwrap();
        assert_eq!(adoption(&built), [("denies-uploads".to_owned(), true)], "{built}");
        let parameter = fake.state().parameters.values().next().unwrap().clone();
        assert!(parameter.contains("\"noncurrent_days\":120"), "{parameter}");
        let resources = built["resources"].as_array().unwrap();
        let note = resources.iter().find(|it| it["type"] == "AWS::SSM::Parameter").unwrap()["note"].as_str().unwrap();
        assert!(note.contains("120 days, not 30") && note.contains("`legal`"), "{note}");
        assert!(!fake.documents()["lifecycle"].contains(">30<"), "{:?}", fake.documents());
        let again = build(&fake, json!({})).await.unwrap();
        assert_eq!(again["outcome"], "compliant", "{again}");
    }

    // What is older than the owner's time outside of what the owner's rule is for is still lost.
    let fake = theirs();
    fake.set("lifecycle", Some(&keeps("legal", "<Filter><Prefix>contracts/</Prefix></Filter>", 120, "")));
    fake.state().versions.extend([version("a", true, 150, None), version("a", false, 160, Some(1))]);
    check_stops(&fake, &["deletes-versions", "denies-uploads"], &[": 1 version (", "for 120 days"]).await;
    let parameter = fake.state().parameters.values().next().unwrap().clone();
    assert!(parameter.contains("\"noncurrent_days\":30"), "what is accepted is done: {parameter}");
}

#[tokio::test]
async fn a_rule_that_keeps_some_versions_for_ever_cannot_be_taken_over() {
    let fake = theirs();
    fake.set(
        "lifecycle",
        Some(&keeps("newest", "<Filter/>", 3, "<NewerNoncurrentVersions>9</NewerNoncurrentVersions>")),
    );
    check_stops(&fake, &["deletes-versions"], &["`newest`", "the newest 9 of each object for ever"]).await;
    // A rule that deletes as soon as ours leaves nothing for ours to delete.
    let fake = theirs();
    fake.set("lifecycle", Some(&keeps("soon", "<Filter/>", 14, "")));
    fake.state().versions.extend([version("a", true, 150, None), version("a", false, 160, Some(1))]);
    assert_eq!(adoption(&build(&fake, json!({"accept": ["denies-uploads"]})).await.unwrap()).len(), 1);
}

#[tokio::test]
async fn what_could_not_be_looked_up_may_break() {
    for (call, name) in [
        ("GetBucketWebsite", "breaks-website"),
        ("GetBucketReplication", "breaks-replication"),
        ("ListObjectVersions", "denies-uploads"),
    ] {
        let fake = theirs();
        fake.fail(call, 9, FaultKind::Answer(403, "AccessDenied"));
        let error = build(&fake, json!({})).await.unwrap_err();
        assert!(error.contains(name) && error.contains(call), "{error}");
        assert_eq!(fake.writes(), Vec::<String>::new());
        build(&fake, json!({"accept": [name, "deletes-versions"]})).await.unwrap();
    }
}

#[tokio::test]
async fn a_bucket_for_logs_or_inventories_that_is_there_is_adopted_as_carefully() {
    let name = "central-logs";
    let fake = FakeAws::default();
    let documents = [
        ("acl", grant("Group", "URI", "http://acs.amazonaws.com/groups/s3/LogDelivery")),
        ("lifecycle", keeps("audit", "<Filter/>", 2555, "")),
        (
            "website",
            "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>".to_owned(),
        ),
    ];
    fake.state().others.insert(name.to_owned(), (documents.map(|it| (it.0.to_owned(), it.1)).into(), None));
    let error = build(&fake, json!({"log_bucket": name})).await.unwrap_err();
    assert!(error.contains("drops-acl-grants (central-logs)") && error.contains("logging.s3.amazonaws.com"), "{error}");
    assert!(error.contains("--accept breaks-website,drops-acl-grants`"), "{error}");
    assert_eq!(fake.writes(), Vec::<String>::new());
    let accept = json!({"log_bucket": name, "accept": ["drops-acl-grants", "breaks-website"]});
    let built = build(&fake, accept).await.unwrap();
    let note = built["resources"][1]["note"].as_str().unwrap();
    assert!(note.contains("2555 days") && note.contains("`audit`"), "{note}");
    for more in
        [json!({"log_bucket": name}), json!({"bucket": "acme-more", "log_bucket": name, "trail": "acme-data-trail"})]
    {
        let again = build(&fake, more).await.unwrap();
        assert_eq!(again["adoption"], json!([]));
    }
    assert!(!fake.state().others[name].0["lifecycle"].contains(">30<"), "{:?}", fake.state().others[name]);
}

#[tokio::test]
async fn any_number_of_buckets_shares_an_inventory_bucket() {
    let fake = FakeAws::default();
    let service = json!({"Service": "s3.amazonaws.com"});
    let of = |bucket: &str, sid: &str, action: &str| {
        json!({"Sid": sid, "Effect": "Allow", "Principal": service, "Action": action, "Resource": "arn:aws:s3:::central-inventory/*",
            "Condition": {"ArnLike": {"aws:SourceArn": format!("arn:aws:s3:::{bucket}")}, "StringEquals": {"aws:SourceAccount": ACCOUNT, "s3:x-amz-acl": "bucket-owner-full-control"}}})
    };
    // As earlier versions left it, beside what only looks like theirs.
    let mut statements: Vec<_> =
        (0..40).map(|n| of(&format!("box{n}"), &format!("GuardrailInventoryPutbox{n}"), "s3:PutObject")).collect();
    let owners = [
        of("box7", "GuardrailInventoryPutOfMine", "s3:PutObject"),
        of("box8", "GuardrailInventoryPutbox8more", "s3:PutObject"),
    ];
    statements.extend(owners.clone());
    let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    fake.state().others.insert("central-inventory".to_owned(), ([("policy".to_owned(), policy)].into(), None));
    for n in 0..70 {
        let request = json!({"bucket": format!("box{n}"), "log_bucket": "central-logs", "inventory_bucket": "central-inventory", "trail": "acme-trail"});
        build(&fake, request).await.unwrap();
    }
    let policy: Value = serde_json::from_str(&fake.state().others["central-inventory"].0["policy"]).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 4, "{policy:#}");
    assert!(owners.iter().all(|it| statements.contains(it)), "{policy:#}");
    let ours = statements.iter().find(|it| it["Sid"] == "GuardrailInventoryPut").unwrap();
    assert_eq!(ours["Condition"]["ArnLike"]["aws:SourceArn"], "arn:aws:s3:::*");
    assert_eq!(ours["Condition"]["StringEquals"]["aws:SourceAccount"], ACCOUNT);
}

/// A statement of this many bytes, about nothing of ours.
fn large(sid: &str, bytes: usize) -> Value {
    json!({"Sid": sid, "Effect": "Deny", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/{}", "u".repeat(bytes))}, "Action": "s3:DeleteObject", "Resource": "*"})
}

#[tokio::test]
async fn what_would_be_refused_in_the_end_is_refused_before_the_first_write() {
    let policy = |statement: Value| json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let other = |name: &'static str, document: String| {
        move |fake: &FakeAws| {
            fake.state().others.insert(name.to_owned(), ([("policy".to_owned(), document.clone())].into(), None));
        }
    };
    let set = |name: &'static str, document: String| move |fake: &FakeAws| fake.set(name, Some(&document));
    let lockout = json!({"Sid": "Freeze", "Effect": "Deny", "Principal": "*", "Action": "s3:PutBucketPolicy", "Resource": format!("arn:aws:s3:::{BUCKET}"), "Condition": {"StringEquals": {"aws:PrincipalArn": ROLE}}});
    let dead = json!({"Sid": "Left", "Effect": "Allow", "Principal": {"AWS": "AROAEXAMPLE"}, "Action": "s3:GetObject", "Resource": "*"});
    let rule = |n: usize| {
        format!(
            "<Rule><ID>{n}</ID><Filter><Prefix>{n}/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule>"
        )
    };
    let rules: String = (0..999).map(rule).collect();
    let key = |fake: &FakeAws| {
        let policy = json!({"Version": "2012-10-17", "Statement": [large("Everybody", 32_300)]}).to_string();
        let aliases = [("alias/s3-secure-data".to_owned(), KEY.to_owned())].into();
        fake.state().key = Some(FakeKey { policy, aliases, rotation: false, ..FakeKey::good() });
    };
    let trail = |fake: &FakeAws| {
        let fields: Vec<_> = (0..497).map(|n| format!("arn:aws:lambda:eu-west-2:{ACCOUNT}:function:f{n}")).collect();
        fake.state().trail = Some(json!({
            "TrailARN": TRAIL, "IsLogging": true, "S3BucketName": "central-logs",
            "AdvancedEventSelectors": [{"Name": "All of theirs", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::Lambda::Function"]}, {"Field": "resources.ARN", "Equals": fields}]}],
        }));
    };
    let mfa =
        "<VersioningConfiguration><Status>Suspended</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>";
    type Spoil = Box<dyn Fn(&FakeAws)>;
    let cases: [(Spoil, &[&str]); 9] = [
        (
            Box::new(set("policy", policy(large("Everybody", 19_500)))),
            &["bucket-policy of acme-data", "20480", "`Everybody`"],
        ),
        (Box::new(set("policy", policy(lockout))), &["bucket-policy of acme-data", "`Freeze`", ROLE]),
        (Box::new(set("policy", policy(dead))), &["bucket-policy of acme-data", "`Left`", "deleted user or role"]),
        (
            Box::new(set("lifecycle", format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>"))),
            &["lifecycle of acme-data", "1001 rules"],
        ),
        (Box::new(set("versioning", mfa.to_owned())), &["versioning of acme-data", "MFA Delete"]),
        (
            Box::new(other("acme-data-logs", policy(large("Shared", 19_900)))),
            &["bucket-policy of acme-data-logs", "`Shared`"],
        ),
        (
            Box::new(other("acme-data-inventory", policy(large("Shared", 19_900)))),
            &["bucket-policy of acme-data-inventory", "`Shared`"],
        ),
        (Box::new(key), &["kms-key", KEY, "32768", "`Everybody`"]),
        (Box::new(trail), &["trail: ", "500 values"]),
    ];
    for (spoil, words) in cases {
        let fake = theirs();
        spoil(&fake);
        let request = json!({"trail": "acme-trail"});
        let error = build(&fake, request.clone()).await.unwrap_err();
        for word in words.iter().chain(&["nothing was changed", "would be refused"]) {
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
        assert_eq!(fake.writes(), Vec::<String>::new(), "{words:?}");
        let dry = build(&fake, json!({"trail": "acme-trail", "dry_run": true})).await.unwrap();
        assert_eq!(dry["refusals"].as_array().map(Vec::len), Some(1), "{dry}");
        assert_eq!(fake.writes(), Vec::<String>::new(), "{words:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_no_half_adopted_bucket() {
    let fake = theirs();
    fake.state().others.insert("acme-data-logs".to_owned(), Default::default());
    fake.fail("GetBucketAcl", 99, FaultKind::Answer(403, "AccessDenied"));
    let error = build(&fake, json!({})).await.unwrap_err();
    assert!(error.contains("object-ownership of acme-data-logs: it could not be read: GetBucketAcl"), "{error}");
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_with_those_that_are() {
    let error = build(&theirs(), json!({"accept": ["everything"]})).await.unwrap_err();
    assert!(error.contains("accept[0]: unknown variant `everything`") && error.contains("deletes-versions"), "{error}");
}

#[tokio::test]
async fn a_dry_run_says_what_is_still_to_be_created_around_a_good_bucket() {
    let fake = FakeAws::default();
    build(&fake, json!({})).await.unwrap();
    let good = build(&fake, json!({"dry_run": true})).await.unwrap();
    assert_eq!(good["outcome"], "compliant", "{good}");
    fake.state().trail = None;
    let dry = build(&fake, json!({"dry_run": true})).await.unwrap();
    assert_eq!(dry["outcome"], "drifted", "{dry}");
    fake.state().others.remove("acme-data-inventory");
    let dry = build(&fake, json!({"dry_run": true})).await.unwrap();
    assert_eq!(dry["outcome"], "drifted", "{dry}");
}
