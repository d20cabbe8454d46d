//! `guardrail rollback`: puts back what a restore replaced, and exempts it first.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use guardrail::{
    api::ApiError,
    apply::{Writers, put_back},
    control::Control,
    history::{Record, Setting},
    names::BucketName,
    observe::Bucket,
    plan::Observed,
    registry::{self, Registration},
};
use jiff::Timestamp;

use crate::{
    Exit,
    args::{Leave, RollbackArguments},
    diff::{ADDED, CHANGED, REMOVED, diff, painted},
    error::{CliError, next_step},
    exempt::{exemption, with_exemption},
    history::{read, registered},
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
    let (record, guarded) = tokio::join!(read(session, file), registered(session, bucket));
    let (record, _) = (record?, guarded?);
    let observed = session.observe(bucket).await?;
    let steps = steps(&record, wanted, observed, *overwrite)
        .map_err(|problem| CliError::Record { file: file.to_string(), problem })?;
    output::print(&text(bucket, &steps))?;
    let backs: Vec<_> = steps.iter().filter_map(|(control, step)| step.back(*control)).collect();
    let stays = steps.iter().any(|(_, it)| matches!(it, Step::ChangedSince { .. } | Step::Unreadable(_)));
    let exit = if stays { Exit::Error } else { Exit::Compliant };
    if backs.is_empty() || *dry_run {
        return Ok(exit);
    }
    if !*yes && !confirmed()? {
        return Err(refused("not confirmed"));
    }
    let exempt = |registration: Registration, control| {
        exemption(leave, control, Timestamp::now()).map(|it| with_exemption(&registration, it))
    };
    // Anew, as everything after the question: a person may have taken their time.
    let registration = registered(session, bucket).await?;
    let exempted = backs.iter().try_fold(registration, |it, back| exempt(it, back.control))?;
    let (ssm, prefix) = (&session.guardrail.ssm, &session.guardrail.config.parameter_prefix);
    registry::write(ssm, prefix, &exempted).await.map_err(|source| CliError::Parameters { source })?;
    let problems = put_all_back(session, bucket, backs, leave).await?;
    if problems.is_empty() {
        Ok(exit)
    } else {
        Err(CliError::NotRolledBack { bucket: bucket.clone(), problem: problems.join("; ") })
    }
}

/// Puts back what is still as it was shown; what could not be. What AWS is too busy for is tried again, each time after
/// another look: while a person read, or we waited, others may have gone on.
async fn put_all_back(
    session: &Session,
    bucket: &BucketName,
    mut backs: Vec<Back<'_>>,
    leave: &Leave,
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
                Ok(now) => match now.and_then(|it| back.is_due(&it)) {
                    Some(true) => put_back(&writers, named, back.before).await,
                    Some(false) => Ok(()),
                    None => {
                        problems.push(format!("{control}: changed again since it was shown"));
                        continue;
                    }
                },
            };
            // As in a restore: one that fails does not stop the next.
            match result {
                Ok(()) => {
                    let done = format!("{control}: as before, exempt until {}", leave.until);
                    output::print(&format!("  {}\n", painted(ADDED, &done)))?;
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

fn confirmed() -> io::Result<bool> {
    let mut prompt = anstream::stderr().lock();
    write!(prompt, "\nThe guardrail will leave it so until the exemption ends. Type `yes` to do it: ")?;
    prompt.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// What to do about each control that the record says was written. Pure; an error says why the record is of no use.
fn steps(
    record: &Record,
    wanted: &[Control],
    observed: Observed,
    overwrite: bool,
) -> Result<Vec<(Control, Step)>, String> {
    let missing = wanted.iter().find(|it| !record.findings.iter().any(|entry| entry.written && entry.control == **it));
    if let Some(control) = missing {
        return Err(format!("nothing was written of {control} then; nothing was changed"));
    }
    let mut now = Setting::all(observed);
    let mut steps = Vec::new();
    let written = record.findings.iter().filter(|it| it.written);
    for entry in written.filter(|it| wanted.is_empty() || wanted.contains(&it.control)) {
        let control = entry.control;
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

fn text(bucket: &BucketName, steps: &[(Control, Step)]) -> String {
    let mut text = format!("{}\n", painted(BOLD, bucket.as_str()));
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
        };
        text.push_str(&format!("  {}\n", painted(style, &what)));
        if let Step::Back { now, before } | Step::ChangedSince { now, before } = step {
            text.push_str(&diff(&now.in_words_of(before).to_json(), &before.to_json(), "      "));
        }
    }
    text
}
