//! `guardrail rollback`: puts back what a restore replaced, and exempts it first.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use guardrail::{
    api::ApiError,
    apply::{Writers, put_back},
    control::Control,
    history::{Entry, Record, RecordFile, RollbackPlace, Setting, keep_rollback},
    names::BucketName,
    observe::Bucket,
    plan::Observed,
    reconcile::Outcome,
    registry::{self, Registration},
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
    output::print(&text(bucket, guarded.is_some(), &steps))?;
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
    let place = RollbackPlace {
        log_bucket: &file.log_bucket,
        bucket: &file.bucket,
        account: &session.account,
        kms_key: registration.map(|it| &it.key_arn),
    };
    match keep_rollback(&session.guardrail, place, done.iter().map(entry).collect(), elapsed_ms).await {
        Ok(record) => output::print(&format!("  {}\n", painted(DIMMED, &format!("record {record}"))))?,
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
    const WAITS: [Duration; 4] =
        [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
    let writers = Writers::new(&session.guardrail, "s3-guardrail");
    let named = Bucket { name: bucket, owner: &session.account };
    let mut problems = Vec::new();
    let mut busy = Vec::new();
    for wait in WAITS {
        tokio::time::sleep(wait).await;
        busy.clear();
        let mut settings = Setting::all(session.observe(bucket).await?);
        let mut left = Vec::new();
        for back in backs {
            let control = back.control;
            let result = match taken(&mut settings, control).transpose() {
                Err(error) => Err(error),
                Ok(now) => match now.map(|it| (back.is_due(&it), it)) {
                    Some((Some(true), was)) => {
                        let result = put_back(&writers, named, back.before).await;
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
                    output::print(&format!("  {}\n", painted(ADDED, &format!("{control}: as before{exempt}"))))?;
                }
                Err(error) if error.passing => {
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
    let mut prompt = anstream::stderr().lock();
    let stays = if guarded { "The guardrail will leave it so until the exemption ends" } else { "Nothing restores it" };
    write!(prompt, "\n{stays}. Type `yes` to do it: ")?;
    prompt.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// What to do about each control of the record. Pure; an error says why the record is of no use.
fn steps(
    record: &Record,
    wanted: &[Control],
    observed: Observed,
    overwrite: bool,
) -> Result<Vec<(Control, Step)>, String> {
    let missing = wanted.iter().find(|it| !record.findings.iter().any(|entry| entry.control == **it));
    if let Some(control) = missing {
        return Err(format!("it says nothing of {control}; nothing was changed"));
    }
    let useless = |it: &&Control| !record.findings.iter().any(|entry| entry.is_changed() && entry.control == **it);
    if let Some(control) = wanted.iter().find(useless) {
        return Err(format!("{control} was not changed then; nothing was changed"));
    }
    let mut now = Setting::all(observed);
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
    settings.iter().position(|it| it.0 == control).map(|it| settings.swap_remove(it).1)
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
