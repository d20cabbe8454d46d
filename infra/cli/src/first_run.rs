//! `guardrail first-run`: asks an account what nobody knows of AWS without one.
//!
//! It works in a bucket to throw away, and puts everything in it as it was. [`questions`] decides what an answer means, and
//! does no I/O.

mod probes;
mod questions;
mod site;

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use guardrail_core::tell::redact::redact_names;
use jiff::Timestamp;

use self::{
    probes::Run,
    questions::{Question, Verdict, markdown},
    site::{PREFIX, Site, fit, key},
};
use crate::{Exit, args::FirstRunArguments, error::CliError, output, session::Session};

pub(crate) async fn run(session: &Session, arguments: FirstRunArguments) -> Result<Exit, CliError> {
    let (exit, block) = ask(session, arguments).await?;
    session.print(&block)?;
    Ok(exit)
}

/// How it ends, and what a person pastes into an issue.
async fn ask(session: &Session, arguments: FirstRunArguments) -> Result<(Exit, String), CliError> {
    let FirstRunArguments { bucket, wait, yes } = arguments;
    let refused = |problem: &str| CliError::Refused { bucket: bucket.clone(), problem: problem.to_owned() };
    if !yes && !io::stdin().is_terminal() {
        return Err(refused("nobody is there to be asked: give --yes"));
    }
    fit(session, &bucket).await?;
    let (key, alias) = key(session, &bucket).await?;
    let site = Site { session, bucket: &bucket, key, alias };
    let before = site.before().await.map_err(CliError::NotFoundOut)?;
    if !yes && !confirmed(&site, before.versioning.is_none())? {
        return Err(refused("that is not its name"));
    }
    let stopped =
        |left: Vec<String>| CliError::Stopped { what: format!("{bucket} is not as it was"), problem: left.join("; ") };
    // Of an earlier run that was killed.
    let left = site.restore(&before).await;
    if !left.is_empty() {
        return Err(stopped(left));
    }
    site.keep(&before).await.map_err(|error| CliError::Refused {
        bucket: bucket.clone(),
        problem: format!("what it is like could not be kept in it: {error}"),
    })?;
    let begun = Timestamp::now();
    let mut run = Run::default();
    probes::of_bucket(&site, &mut run).await;
    let left = site.restore(&before).await;
    for problem in &left {
        output::complain("error", &format!("{bucket}: {problem}"));
    }
    run.answers.extend(probes::of_trails(session).await);
    run.answers.extend(probes::of_the_past(session).await);
    let waiting =
        format!("until CloudTrail shows what was done, {wait} minutes at most; nothing of it is left in {bucket}");
    if left.is_empty() {
        output::complain("waiting", &waiting);
    }
    probes::of_events(session, bucket.as_str(), begun, Duration::from_secs(60 * wait), &mut run).await;
    run.answers.push(probes::of_alarms());
    let mut answers = run.answers;
    answers.sort_by_key(|answer| Question::ALL.iter().position(|it| *it == answer.question));
    let time = begun.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let block = markdown(&answers, env!("CARGO_PKG_VERSION"), &session.guardrail.config.region, &time);
    let block = redact_names(&block, &[bucket.as_str()]);
    if !left.is_empty() {
        session.print(&block)?;
        return Err(stopped(left));
    }
    let otherwise = answers.iter().any(|it| it.verdict == Verdict::Otherwise);
    Ok((if otherwise { Exit::Drift } else { Exit::Compliant }, block))
}

/// Asks for the bucket's name.
fn confirmed(site: &Site<'_>, never_versioned: bool) -> io::Result<bool> {
    let mut prompt = anstream::stderr().lock();
    writeln!(
        prompt,
        "In {}, this writes objects under {PREFIX}/, statements about them, lifecycle rules that are off, and turns\n\
         versioning on and off; then it puts everything back. It uses the key of {}.",
        site.bucket, site.alias
    )?;
    if never_versioned {
        writeln!(prompt, "Versioning was never on, and will be suspended: S3 has no way back from that.")?;
    }
    drop(prompt);
    output::confirmed("Type the bucket's name to begin: ", site.bucket.as_str())
}

#[cfg(test)]
pub(crate) mod tests {
    use guardrail_core::value::policy::Policy;
    use guardrail_tests::fake::{ACCOUNT, BUCKET, FakeAws, FakeKey, FaultKind, KEY, State, TRAIL};
    use guardrail_tests::models::Exchange;
    use serde_json::{Value, json};

    use super::*;
    use crate::faults::session;

    const ENABLED: &str = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status></VersioningConfiguration>";
    const LATENCY: Duration = Duration::from_secs(1);

    /// An empty bucket with a statement of its owner's, in an account with the key that a bootstrap would take.
    fn throwaway() -> FakeAws {
        let fake = FakeAws::default();
        {
            let mut state = fake.state();
            let owners = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Owners", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": format!("arn:aws:s3:::{BUCKET}")}]});
            state.set("policy", Some(&owners.to_string()));
            state.set("versioning", Some(ENABLED));
            let aliases = [("alias/s3-secure-data".to_owned(), KEY.to_owned())].into();
            state.key = Some(FakeKey { aliases, ..FakeKey::good() });
            state.others = [("acme-logs".to_owned(), Default::default())].into();
            state.trail = Some(
                json!({"TrailARN": TRAIL, "IsLogging": true, "S3BucketName": "acme-logs", "KmsKeyId": KEY, "AdvancedEventSelectors": []}),
            );
            (state.records, state.enforces) = (Some(Vec::new()), true);
        }
        fake
    }

    async fn run_on(fake: &FakeAws) -> Result<(Exit, String), CliError> {
        ask(&session(fake), FirstRunArguments { bucket: BUCKET.parse().unwrap(), wait: 1, yes: true }).await
    }

    /// What it sends and is answered when nothing goes wrong.
    pub(crate) async fn exchanges() -> Vec<Exchange> {
        let fake = throwaway();
        // Without a statement of its owner's, the policy goes in the end.
        fake.set("policy", None);
        fake.state().exchanges = Some(Vec::new());
        run_on(&fake).await.unwrap();
        fake.state().exchanges.take().unwrap()
    }

    /// Everything in the bucket, and its policy by what it means.
    fn is(fake: &FakeAws) -> (Vec<String>, Value, Value) {
        let state = fake.state();
        let mut documents = state.bucket.clone().unwrap();
        let policy = documents.remove("policy").map(|it| Policy::parse(&it).unwrap().to_json());
        let kept = state.objects.keys().chain(&state.uploads).cloned().collect();
        (kept, json!(documents), json!(policy))
    }

    /// The row of a mark.
    fn row<'a>(block: &'a str, mark: &str) -> &'a str {
        block.lines().find(|it| it.starts_with(&format!("| {mark} |"))).unwrap_or_else(|| panic!("{mark}: {block}"))
    }

    #[tokio::test(start_paused = true)]
    async fn every_question_is_answered_and_the_bucket_is_as_it_was() {
        let fake = throwaway();
        let before = is(&fake);
        let (exit, block) = run_on(&fake).await.unwrap();
        assert_eq!(exit, Exit::Compliant, "{block}");
        assert_eq!(is(&fake), before);
        for question in Question::ALL {
            row(&block, question.row().mark);
        }
        for (mark, said) in [
            ("U1", "PutBucketVersioning (AccessDenied) names the bucket in requestParameters.bucketName"),
            ("U4", "LookupEvents showed 3 of 3 calls"),
            ("U7", "unknown | trails that deliver: 0 of 0"),
            ("U8", "none of 1 trails has an error"),
            ("U6", "DeleteBucketWebsite (no error)"),
            ("U10", "as believed | denied by the bucket's"),
            ("U11", "as believed | denied by the bucket's"),
            ("U14", "as believed | accepted"),
            ("U15", "10 of 10 suspensions were read back at once"),
            ("U16", "otherwise than written, in 3 reads: Principal, Action, Resource"),
        ] {
            assert!(row(&block, mark).contains(said), "{mark}: {block}");
        }
        for secret in [BUCKET, "111122223333", "arn:"] {
            assert!(!block.contains(secret), "{secret}: {block}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whenever_it_is_interrupted_the_next_run_removes_what_is_left() {
        let whole = throwaway();
        let before = is(&whole);
        run_on(&whole).await.unwrap();
        let last = whole.state().calls.iter().rposition(|it| it == "DeleteObject").unwrap();
        let mut left = 0;
        for calls in (1..=last).step_by(3) {
            let fake = throwaway();
            fake.state().latency = LATENCY;
            let time = LATENCY * u32::try_from(calls).unwrap() - LATENCY / 2;
            // Between the calls it waits, too: then a later run is interrupted earlier than at this call.
            let interrupted = tokio::time::timeout(time, run_on(&fake)).await;
            assert!(interrupted.is_err(), "after {calls} calls it had ended");
            left += usize::from(is(&fake) != before);
            fake.state().latency = Duration::ZERO;
            let (_, block) = run_on(&fake).await.unwrap_or_else(|error| panic!("after {calls} calls: {error}"));
            assert_eq!(is(&fake), before, "after {calls} calls");
            assert!(row(&block, "U15").contains("10 of 10"), "{block}");
        }
        assert!(left > last / 6, "only {left} interruptions left anything");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_denied_is_named_as_denied_and_the_rest_is_asked() {
        for (call, marks) in [
            ("PutBucketPolicy", ["U10", "U14", "U16"].as_slice()),
            ("PutBucketVersioning", &["U15"]),
            ("PutBucketLifecycleConfiguration", &["U5"]),
            ("UpdateObjectEncryption", &["U10"]),
            ("LookupEvents", &["U1", "U2", "U3", "U6"]),
            ("GetTrailStatus", &["U7", "U8", "U9"]),
        ] {
            let fake = throwaway();
            let before = is(&fake);
            let denied = "User is not authorized because no identity-based policy allows the action";
            let of_s3 = call.contains("Bucket") || call.contains("Object");
            let kind = if of_s3 { FaultKind::Denied(denied) } else { FaultKind::Answer(400, "AccessDeniedException") };
            fake.fail(call, usize::MAX, kind);
            let (exit, block) = run_on(&fake).await.unwrap_or_else(|error| panic!("{call}: {error}"));
            assert_eq!(exit, Exit::Compliant, "{call}: {block}");
            for mark in marks {
                assert!(row(&block, mark).contains("| denied |"), "{call}, {mark}: {block}");
            }
            assert_eq!(is(&fake), before, "{call}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_is_in_use_is_refused_before_anything_is_written() {
        type Change = fn(&mut State);
        let registered = |bucket: &str, more: Value| {
            let mut document = json!({"bucket": bucket, "account": ACCOUNT, "key_arn": KEY});
            document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            (format!("/s3-guardrail/buckets/{bucket}"), document.to_string())
        };
        let cases: [(&str, Change); 8] = [
            ("there is no such bucket; make one", |it| it.bucket = None),
            ("it holds \"theirs.txt\"", |it| drop(it.objects.insert(format!("{BUCKET}/theirs.txt"), String::new()))),
            ("it holds \"large\"", |it| it.uploads = [format!("{BUCKET}/large")].into()),
            ("it holds \"s3-guardrail-first-running\"", |it| {
                it.objects.insert(format!("{BUCKET}/s3-guardrail-first-running"), String::new());
            }),
            ("a trail delivers to it", |it| it.trail = Some(json!({"TrailARN": TRAIL, "S3BucketName": BUCKET}))),
            ("keeps every new object for 1 days", |it| {
                let rule = "<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule>";
                it.object_lock = Some(format!(
                    "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
                ));
            }),
            ("MFA Delete", |it| {
                it.set("versioning", Some("<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"));
            }),
            ("no key to try with", |it| it.key.as_mut().unwrap().aliases.clear()),
        ];
        let parameters = [
            ("it is guarded", registered(BUCKET, json!({}))),
            ("other-data keeps its logs", registered("other-data", json!({"log_bucket": BUCKET}))),
        ];
        let fakes = cases.into_iter().map(|(problem, change)| {
            let fake = throwaway();
            change(&mut fake.state());
            (problem, fake)
        });
        let fakes = fakes.chain(parameters.into_iter().map(|(problem, parameter)| {
            let fake = throwaway();
            fake.state().parameters.extend([parameter]);
            (problem, fake)
        }));
        for (problem, fake) in fakes {
            let error = run_on(&fake).await.unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("nothing was changed"), "{problem}: {error}");
            let calls = fake.state().calls.clone();
            let is_read = |it: &String| ["Get", "Describe", "List", "Head"].iter().any(|read| it.starts_with(read));
            assert!(calls.iter().all(is_read), "{problem}: {calls:?}");
        }
    }

    /// Nothing of it is lost, and the next run goes on from there.
    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_put_back_is_named() {
        let fake = throwaway();
        let before = is(&fake);
        fake.before("DeleteBucketWebsite", |state| state.set("lifecycle", Some("<LifecycleConfiguration><Rule><ID>s3-guardrail-first-run-1</ID></Rule><Rule><ID>theirs</ID></Rule></LifecycleConfiguration>")));
        let error = run_on(&fake).await.unwrap_err().to_string();
        assert!(
            error.contains("acme-data is not as it was: its lifecycle rules") && error.contains("run it again"),
            "{error}"
        );
        assert_eq!(is(&fake).0, [format!("{BUCKET}/s3-guardrail-first-run/before.json")]);
        fake.set("lifecycle", None);
        run_on(&fake).await.unwrap();
        assert_eq!(is(&fake), before);
    }

    #[tokio::test(start_paused = true)]
    async fn versioning_that_was_never_on_ends_suspended() {
        let fake = throwaway();
        fake.set("versioning", None);
        run_on(&fake).await.unwrap();
        assert!(fake.documents()["versioning"].contains("Suspended"));
        assert_eq!(is(&fake).0, Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn reads_that_lag_are_counted() {
        let fake = throwaway();
        let before = is(&fake);
        fake.fail("PutBucketVersioning", 1, FaultKind::Lagging(2));
        let (_, block) = run_on(&fake).await.unwrap();
        assert!(row(&block, "U15").contains("at most "), "{block}");
        assert_eq!(is(&fake), before);
    }
}
