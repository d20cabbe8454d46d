//! `guardrail rollback`: puts back what a restore replaced, and exempts it first.

use std::{
    io::{self, IsTerminal as _},
    time::Instant,
};

use guardrail::{
    apply::put_back,
    clients::Writers,
    store::{
        history::{RollbackDestination, keep_rollback},
        registry,
    },
};
use guardrail_core::{
    control::table::Control,
    decide::backoff,
    edge::registry::Registration,
    outcome::{
        finding::Outcome,
        observed::Observed,
        record::{Entry, Record},
        record_file::RecordFile,
        setting::Setting,
    },
    value::{failure::ApiError, names::BucketName},
};
use jiff::Timestamp;

use crate::{
    Exit,
    args::{Leave, RollbackArguments},
    diff::{ADDED, CHANGED, REMOVED, diff, painted},
    error::{CliError, next_step},
    exempt::{exemption, with_exemption},
    history::{if_registered, read},
    output::{self, BOLD, DIMMED},
    session::Session,
};

/// What to do about one control of a record.
#[derive(Debug, PartialEq)]
enum Step {
    /// Put back what was there before.
    Back {
        now: Setting,
        before: Setting,
    },
    /// It is as it was before.
    Done,
    /// Somebody has changed it since: that would be lost.
    ChangedSince {
        now: Setting,
        before: Setting,
    },
    Unreadable(String),
    /// Its key or its trail: the restore took nothing away there that an application could miss.
    NotOurs,
    /// It was not changed then.
    NotChanged(Outcome),
}

/// What was put back.
struct Done<'a> {
    control: Control,
    was: Setting,
    is: &'a Setting,
}

/// What is to be put back, as it was shown.
#[derive(Clone, Copy)]
struct Back<'a> {
    control: Control,
    shown: &'a Setting,
    before: &'a Setting,
}

impl Back<'_> {
    /// Whether it has to be written; `None`: somebody has changed it since it was shown.
    fn is_due(&self, now: &Setting) -> Option<bool> {
        if now.is(self.before) {
            return Some(false);
        }
        (now.is(self.shown) || now.is_halfway_to(self.before)).then_some(true)
    }
}

pub(crate) async fn run(session: &Session, arguments: &RollbackArguments) -> Result<Exit, CliError> {
    let RollbackArguments { file, control: wanted, leave, overwrite, dry_run, yes } = arguments;
    let bucket = &file.bucket;
    let refused = |problem: &str| CliError::Refused { bucket: bucket.clone(), problem: problem.to_owned() };
    if !*dry_run && !*yes && !io::stdin().is_terminal() {
        return Err(refused("nobody is there to be asked: give --yes, or --dry-run"));
    }
    // Before anything else: a date that is not one.
    exemption(leave, Control::BucketPolicy, Timestamp::now())?;
    let (record, guarded) = tokio::join!(read(session, file), if_registered(session, bucket));
    let (record, guarded) = (record?, guarded?);
    let observed = session.observe(bucket).await?;
    let steps = steps(&record, wanted, observed, *overwrite)
        .map_err(|problem| CliError::Record { file: file.to_string(), problem })?;
    session.print(&text(bucket, guarded.is_some(), &steps))?;
    let backs: Vec<_> = steps.iter().filter_map(|(control, step)| step.back(*control)).collect();
    let stays = steps.iter().any(|(_, it)| matches!(it, Step::ChangedSince { .. } | Step::Unreadable(_)));
    let exit = if stays { Exit::Error } else { Exit::Compliant };
    if backs.is_empty() || *dry_run {
        return Ok(exit);
    }
    if !*yes && !confirmed(guarded.is_some())? {
        return Err(refused("not confirmed"));
    }
    let start = Instant::now();
    let exempt = |registration: Registration, control| {
        exemption(leave, control, Timestamp::now()).map(|it| with_exemption(&registration, it))
    };
    // Anew, as everything after the question: a person may have taken their time.
    let exempted = match if_registered(session, bucket).await? {
        Some(registration) => Some(backs.iter().try_fold(registration, |it, back| exempt(it, back.control))?),
        // Nothing restores it.
        None => None,
    };
    if let Some(exempted) = &exempted {
        let (ssm, prefix) = (&session.guardrail.ssm, &session.guardrail.config.parameter_prefix);
        registry::write(ssm, prefix, exempted).await.map_err(|source| CliError::Parameters { source })?;
    }
    let mut done = Vec::new();
    let ended = put_all_back(session, bucket, backs, exempted.as_ref().map(|_| leave), &mut done).await;
    let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    keep(session, file, exempted.as_ref(), &done, elapsed_ms).await?;
    let problems = ended?;
    if problems.is_empty() {
        Ok(exit)
    } else {
        let problem = problems.join("; ");
        Err(CliError::NotRolledBack { bucket: bucket.clone(), problem, exempt: exempted.is_some() })
    }
}

/// Keeps a record of what was put back, beside the one that it takes back. That it could not be kept fails nothing.
async fn keep(
    session: &Session,
    file: &RecordFile,
    registration: Option<&Registration>,
    done: &[Done<'_>],
    elapsed_ms: u64,
) -> Result<(), CliError> {
    if done.is_empty() {
        return Ok(());
    }
    let entry = |Done { control, was, is }: &Done<'_>| {
        let exemption = registration.and_then(|it| it.exemption(*control, Timestamp::now())).cloned();
        Entry::rolled_back(*control, was, is, exemption)
    };
    let place = RollbackDestination {
        log_bucket: &file.log_bucket,
        bucket: &file.bucket,
        account: &session.account,
        kms_key: registration.map(|it| &it.key_arn),
    };
    match keep_rollback(&session.guardrail, place, done.iter().map(entry).collect(), elapsed_ms).await {
        Ok(record) => session.print(&format!("  {}\n", painted(DIMMED, &format!("record {record}"))))?,
        Err(error) => output::complain("warning", &format!("no record could be kept{}: {error}", next_step(&error))),
    }
    Ok(())
}

/// Puts back what is still as it was shown; what could not be. What AWS is too busy for is tried again, each time after
/// another look: while a person read, or we waited, others may have gone on.
async fn put_all_back<'a>(
    session: &Session,
    bucket: &BucketName,
    mut backs: Vec<Back<'a>>,
    leave: Option<&Leave>,
    done: &mut Vec<Done<'a>>,
) -> Result<Vec<String>, CliError> {
    let writers = Writers::new(&session.guardrail, "s3-guardrail");
    let mut problems = Vec::new();
    let mut busy = Vec::new();
    for wait in backoff::ROLLBACK {
        tokio::time::sleep(wait).await;
        busy.clear();
        let mut settings = Vec::from(session.observe(bucket).await?.settings());
        let mut left = Vec::new();
        for back in backs {
            let control = back.control;
            let result = match taken(&mut settings, control).transpose() {
                Err(error) => Err(error),
                Ok(now) => match now.map(|it| (back.is_due(&it), it)) {
                    Some((Some(true), was)) => {
                        let result = put_back(&writers, bucket, back.before).await;
                        let may_be_done = result.as_ref().err().is_none_or(ApiError::may_be_done);
                        if may_be_done && !done.iter().any(|it| it.control == control) {
                            done.push(Done { control, was, is: back.before });
                        }
                        result
                    }
                    Some((Some(false), _)) => Ok(()),
                    Some((None, _)) | None => {
                        problems.push(format!("{control}: changed again since it was shown"));
                        continue;
                    }
                },
            };
            // As in a restore: one that fails does not stop the next.
            match result {
                Ok(()) => {
                    let exempt = leave.map(|it| format!(", exempt until {}", it.until)).unwrap_or_default();
                    session.print(&format!("  {}\n", painted(ADDED, &format!("{control}: as before{exempt}"))))?;
                }
                Err(error) if error.is_passing() => {
                    busy.push(format!("{control}{}: {error}", next_step(&error)));
                    left.push(back);
                }
                Err(error) => problems.push(format!("{control}{}: {error}", next_step(&error))),
            }
        }
        backs = left;
        if backs.is_empty() {
            break;
        }
    }
    problems.append(&mut busy);
    Ok(problems)
}

fn confirmed(guarded: bool) -> io::Result<bool> {
    let stays = if guarded { "The guardrail will leave it so until the exemption ends" } else { "Nothing restores it" };
    output::confirmed(&format!("\n{stays}. Type `yes` to do it: "), "yes")
}

/// What to do about each control of the record. Pure; an error says why the record is of no use.
fn steps(
    record: &Record,
    wanted: &[Control],
    observed: Observed,
    overwrite: bool,
) -> Result<Vec<(Control, Step)>, String> {
    let missing = |it: &&Control| !record.findings.iter().any(|entry| entry.is_changed() && entry.control == **it);
    if let Some(control) = wanted.iter().find(missing) {
        return Err(format!("nothing was written of {control} then; nothing was changed"));
    }
    let mut now = Vec::from(observed.settings());
    let mut steps = Vec::new();
    for entry in record.findings.iter().filter(|it| wanted.is_empty() || wanted.contains(&it.control)) {
        let control = entry.control;
        if !entry.is_changed() {
            steps.push((control, Step::NotChanged(entry.outcome)));
            continue;
        }
        let settings = entry.settings().map_err(|error| format!("{error}; nothing was changed"))?;
        let now = taken(&mut now, control);
        let step = match (settings, now) {
            (Some((before, written)), Some(Ok(now))) => {
                let before = before.reachable();
                if now.is(&before) {
                    Step::Done
                } else if overwrite || now.is(&written) || now.is_halfway_to(&before) {
                    Step::Back { now, before }
                } else {
                    Step::ChangedSince { now, before }
                }
            }
            (Some(_), Some(Err(error))) => Step::Unreadable(format!("{error}{}", next_step(&error))),
            (None, _) | (_, None) => Step::NotOurs,
        };
        steps.push((control, step));
    }
    // A public policy is refused while public access is blocked: the door first, as in a restore.
    steps.sort_by_key(|(control, _)| Control::ALL.iter().position(|it| it == control));
    Ok(steps)
}

/// A control's own among the settings that were read.
fn taken(
    settings: &mut Vec<(Control, Result<Setting, ApiError>)>,
    control: Control,
) -> Option<Result<Setting, ApiError>> {
    settings.iter().position(|(of, _)| *of == control).map(|place| settings.swap_remove(place).1)
}

impl Step {
    fn back(&self, control: Control) -> Option<Back<'_>> {
        if let Self::Back { now, before } = self { Some(Back { control, shown: now, before }) } else { None }
    }
}

fn text(bucket: &BucketName, guarded: bool, steps: &[(Control, Step)]) -> String {
    let note = if guarded { "" } else { "  not registered, so nothing restores it and no exemption is needed" };
    let mut text = format!("{}{}\n", painted(BOLD, bucket.as_str()), painted(DIMMED, note));
    for (control, step) in steps {
        let (style, what) = match step {
            Step::Back { .. } => (CHANGED, format!("~ {control}")),
            Step::Done => (DIMMED, format!("  {control}: is as it was before")),
            Step::ChangedSince { .. } => {
                (REMOVED, format!("! {control}: changed again since then; --overwrite takes that back, too"))
            }
            Step::Unreadable(error) => (REMOVED, format!("! {control}: could not be read: {error}")),
            Step::NotOurs => (
                DIMMED,
                format!("  {control}: left alone, the restore only added to it; the record says what was there"),
            ),
            Step::NotChanged(outcome) => {
                let why = match outcome {
                    Outcome::Exempt => "it was exempt",
                    Outcome::WouldRestore => "it was only told of",
                    Outcome::Failed => "the restore failed",
                    Outcome::Unreadable => "it could not be read",
                    Outcome::Unstable => "it had been restored before",
                    Outcome::Restored => "nothing had to be written",
                };
                (DIMMED, format!("  {control}: left alone, not changed then: {why}"))
            }
        };
        text.push_str(&format!("  {}\n", painted(style, &what)));
        if let Step::Back { now, before } | Step::ChangedSince { now, before } = step {
            text.push_str(&diff(&now.in_words_of(before).to_json(), &before.to_json(), "      "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use guardrail::work::bootstrap;
    use guardrail_core::decide::setup::Request;
    use guardrail_core::{
        outcome::record_file::FOLDER,
        value::{failure::chain, policy::Policy},
    };
    use guardrail_tests::fake::{ACCOUNT, BUCKET, FakeAws, FaultKind};
    use serde_json::{Value, json};

    use super::*;
    use crate::{args::HistoryArguments, faults, history};

    /// The newest record of this bucket in its default log bucket, and the record.
    fn newest(fake: &FakeAws, bucket: &str) -> (RecordFile, Value) {
        let folder = format!("{BUCKET}-logs/{FOLDER}{bucket}/");
        let objects = fake.state().objects.clone();
        let (place, text) = objects.into_iter().rfind(|it| it.0.starts_with(&folder)).unwrap();
        (format!("s3://{place}").parse().unwrap(), serde_json::from_str(&text).unwrap())
    }

    async fn take_back(fake: &FakeAws, file: RecordFile) -> Result<Exit, CliError> {
        let leave = Leave { until: faults::tomorrow(), reason: "INC-1".to_owned(), approved_by: "ann".to_owned() };
        let (control, overwrite, dry_run, yes) = (Vec::new(), false, false, true);
        run(&faults::session(fake), &RollbackArguments { file, control, leave, overwrite, dry_run, yes }).await
    }

    /// A bucket, and a log bucket that was there, whose adoption stopped at the last setting.
    async fn half_adopted() -> (FakeAws, String) {
        let fake = FakeAws::default();
        let suspended = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
        let rule = "<LifecycleConfiguration><Rule><ID>theirs</ID><Filter/><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule></LifecycleConfiguration>";
        let documents = [("versioning", suspended), ("lifecycle", rule)].map(|it| (it.0.to_owned(), it.1.to_owned()));
        fake.state().bucket = Some(documents.clone().into());
        fake.state().others.insert(format!("{BUCKET}-logs"), (documents.into(), None));
        fake.fail("PutBucketInventoryConfiguration", 9, FaultKind::Answer(403, "AccessDenied"));
        let request: Request = serde_json::from_value(json!({"bucket": BUCKET})).unwrap();
        let error = bootstrap::run(&faults::session(&fake).guardrail, request).await.unwrap_err();
        (fake, chain(&error))
    }

    #[tokio::test]
    async fn what_a_bootstrap_wrote_that_stopped_half_way_can_be_taken_back() {
        for bucket in [BUCKET.to_owned(), format!("{BUCKET}-logs")] {
            let (fake, error) = half_adopted().await;
            let (file, record) = newest(&fake, &bucket);
            assert!(bucket != BUCKET || error.contains(&file.to_string()), "{error}");
            let ann = format!("arn:aws:iam::{ACCOUNT}:user/ann");
            assert_eq!(record["asked"], json!({"what": "bootstrap", "by": ann}));
            take_back(&fake, file).await.unwrap();
            {
                let state = fake.state();
                let documents =
                    if bucket == BUCKET { state.bucket.clone().unwrap() } else { state.others[&bucket].0.clone() };
                assert!(
                    documents["lifecycle"].contains("theirs") && !documents["lifecycle"].contains("expire-noncurrent")
                );
                assert!(documents["versioning"].contains("Suspended"));
                assert!(!documents.contains_key("policy") && state.parameters.is_empty(), "{documents:?}");
            }
            let (_, record) = newest(&fake, &bucket);
            assert_eq!(record["asked"], json!({"what": "rollback", "by": ann}));
            let lifecycle =
                record["findings"].as_array().unwrap().iter().find(|it| it["control"] == "lifecycle").unwrap();
            assert!(lifecycle["observed"]["Document"].as_str().unwrap().contains("expire-noncurrent"), "{lifecycle}");
            assert!(lifecycle["desired"]["Document"].as_str().unwrap().contains("theirs"), "{lifecycle}");
        }
    }

    #[tokio::test]
    async fn a_rollback_can_itself_be_taken_back() {
        let (fake, _) = half_adopted().await;
        let before = fake.documents();
        take_back(&fake, newest(&fake, BUCKET).0).await.unwrap();
        assert_ne!(fake.documents()["lifecycle"], before["lifecycle"]);
        take_back(&fake, newest(&fake, BUCKET).0).await.unwrap();
        for setting in ["encryption", "versioning", "lifecycle"] {
            assert_eq!(fake.documents()[setting], before[setting], "{setting}");
        }
        let policy = |it: &str| Policy::parse(it).unwrap();
        assert!(policy(&fake.documents()["policy"]).means(&policy(&before["policy"])));
    }

    #[tokio::test]
    async fn the_history_of_a_bucket_that_is_not_registered_is_found_or_asked_for() {
        let look = async |fake: &FakeAws, bucket: &str, log_bucket: Option<&str>| {
            let log_bucket = log_bucket.map(|it| it.parse().unwrap());
            let arguments = HistoryArguments { bucket: bucket.parse().unwrap(), limit: 9, log_bucket, json: false };
            history::run(&faults::session(fake), arguments).await.map_err(|error| error.to_string())
        };
        let (fake, _) = half_adopted().await;
        assert_eq!(look(&fake, BUCKET, None).await, Ok(Exit::Compliant));
        let logs = format!("{BUCKET}-logs");
        assert_eq!(look(&fake, &logs, Some(&logs)).await, Ok(Exit::Compliant));
        for (bucket, part) in [("ledger".to_owned(), "ledger-logs"), ("l".repeat(60), "too long")] {
            let error = look(&fake, &bucket, None).await.unwrap_err();
            assert!(error.contains(part) && error.contains("--log-bucket"), "{error}");
        }
    }

    #[test]
    fn what_is_left_out_is_said_with_the_reason() {
        let entry = |control: &str, outcome: &str, more: Value| {
            let status = |it: &str| json!({"Status": it, "MFADelete": false});
            let mut entry = json!({
                "control": control, "outcome": outcome, "written": false, "observed": status("Suspended"),
                "desired": status("Enabled"), "error": null, "exemption": null,
            });
            more.as_object().unwrap().iter().for_each(|it| entry[it.0] = it.1.clone());
            entry
        };
        let record = json!({
            "schema": guardrail_core::outcome::record::SCHEMA, "bucket": BUCKET, "account": ACCOUNT, "region": "eu-west-2",
            "time": "2026-11-23T10:00:00Z", "elapsed_ms": 1, "drift_to_restored_ms": null, "trigger": null,
            "outcome": "failed", "findings": [
                entry("versioning", "restored", json!({"by_another": true})),
                entry("bucket-policy", "failed", json!({})),
                entry("lifecycle", "exempt", json!({})),
                entry("inventory", "unreadable", json!({})),
                entry("kms-key", "restored", json!({"written": true})),
            ],
        });
        let record = Record::parse(&record.to_string()).unwrap();
        let now = || {
            let versioning = guardrail_core::control::versioning::Versioning {
                status: Some("Enabled".to_owned()),
                mfa_delete: false,
            };
            Observed { versioning: Ok(versioning), ..Observed::empty() }
        };
        let steps = |wanted: &[Control]| super::steps(&record, wanted, now(), false);
        let text = text(&BUCKET.parse().unwrap(), false, &steps(&[]).unwrap());
        expect![[r#"
            acme-data  not registered, so nothing restores it and no exemption is needed
                bucket-policy: left alone, not changed then: the restore failed
              ~ versioning
                  ~ Status: "Enabled" -> "Suspended"
                lifecycle: left alone, not changed then: it was exempt
                inventory: left alone, not changed then: it could not be read
                kms-key: left alone, the restore only added to it; the record says what was there
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&text).to_string());
        for control in [Control::Lifecycle, Control::Trail] {
            assert!(steps(&[control]).unwrap_err().contains(&format!("nothing was written of {control} then")));
        }
        assert_eq!(steps(&[Control::Versioning]).unwrap().len(), 1);
    }
}
