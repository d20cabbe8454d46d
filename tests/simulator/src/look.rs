//! One look at the bucket, call by call: what `work/reconcile.rs` does between the decisions.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use guardrail_core::{
    control::table::Control,
    decide::{
        backoff,
        baseline::Baseline,
        echo::Past,
        plan::{self, Stance, plan},
        settle::{Problem, Restored},
    },
    outcome::{
        finding::Finding,
        observed::Observation,
        setting::Setting,
        step::{Change, Step},
    },
    value::failure::{ApiError, Read},
};

use crate::world::{Time, observed};

/// A look that is under way.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) past: Past,
    pub(crate) read: BTreeMap<Control, Read<Setting>>,
    /// When what was read of each control was certainly so.
    pub(crate) as_of: BTreeMap<Control, Time>,
    rereads: usize,
    steps: VecDeque<Step>,
    current: Option<Writing>,
    pub(crate) findings: Vec<Finding>,
    /// When its first write began.
    begun: Option<Time>,
}

/// A change on its way.
#[derive(Debug)]
struct Writing {
    change: Change,
    tried: usize,
    written: bool,
}

/// What a look does next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Reads everything, after this wait.
    ReadAll(Time),
    /// Reads one control again, after this wait.
    Reread(Control, Time),
    /// Sends the write.
    Write(Control),
    /// It is over.
    End,
}

fn milliseconds(duration: Duration) -> Time {
    u64::try_from(duration.as_millis()).unwrap_or(Time::MAX)
}

impl Look {
    pub(crate) fn new(past: Past) -> Self {
        Self {
            past,
            read: BTreeMap::new(),
            as_of: BTreeMap::new(),
            rereads: 0,
            steps: VecDeque::new(),
            current: None,
            findings: Vec::new(),
            begun: None,
        }
    }

    /// Everything has been read: decide.
    pub(crate) fn planned(&mut self, baseline: &Baseline, stance: &Stance<'_>, now: Time) -> Next {
        let Some(seen) = observed(std::mem::take(&mut self.read)) else { return Next::End };
        let steps = plan(baseline, Observation::from(seen), &Stance { past: &self.past, ..stance.clone() });
        let drifted: Vec<_> = steps.iter().filter(|it| it.is_drift()).map(Step::control).collect();
        if let Some(wait) = self.past.reread(&drifted, &Control::OF_BUCKET, stance.now, self.rereads) {
            self.rereads += 1;
            return Next::ReadAll(milliseconds(wait));
        }
        self.steps = steps.into();
        self.go_on(now)
    }

    /// The next step. What is merged is read again right before it is written.
    fn go_on(&mut self, now: Time) -> Next {
        while let Some(step) = self.steps.pop_front() {
            match step.without_write() {
                Ok(finding) => self.findings.push(finding),
                Err(change) => {
                    let control = change.control();
                    self.begun.get_or_insert(now);
                    self.current = Some(Writing { change: *change, tried: 0, written: false });
                    let is_merged = matches!(control, Control::BucketPolicy | Control::Lifecycle);
                    return if is_merged { Next::Reread(control, 0) } else { Next::Write(control) };
                }
            }
        }
        Next::End
    }

    /// The control was read again right before its write.
    pub(crate) fn refreshed(&mut self, baseline: &Baseline, read: Read<Setting>, now: Time) -> Next {
        let Some(Writing { change, written, .. }) = &mut self.current else { return Next::End };
        match read.map(|it| restore(baseline, it)) {
            Ok(Some(fresh)) => {
                *change = fresh;
                Next::Write(change.control())
            }
            Ok(None) => {
                let written = *written;
                self.ended(written, Ok(()), now)
            }
            Err(error) => {
                let written = *written;
                self.ended(written, Err(error.into()), now)
            }
        }
    }

    /// The change that is on its way.
    pub(crate) fn change(&self) -> Option<&Change> {
        self.current.as_ref().map(|it| &it.change)
    }

    /// What S3 answered to the write.
    pub(crate) fn answered(&mut self, result: Result<(), ApiError>, now: Time) -> Next {
        let begun = self.begun.unwrap_or(now);
        let Some(writing) = &mut self.current else { return Next::End };
        writing.written |= result.as_ref().err().is_none_or(ApiError::may_be_done);
        let written = writing.written;
        match result {
            Ok(()) => self.ended(written, Ok(()), now),
            Err(error) => match backoff::of_write(&error, writing.tried, Duration::from_millis(now - begun)) {
                Some(wait) => {
                    writing.tried += 1;
                    Next::Reread(writing.change.control(), milliseconds(wait))
                }
                None => self.ended(written, Err(error.into()), now),
            },
        }
    }

    fn ended(&mut self, written: bool, result: Result<(), Problem>, now: Time) -> Next {
        if let Some(Writing { change, .. }) = self.current.take() {
            self.findings.push(Restored { change, written, result }.into_finding(false));
        }
        self.go_on(now)
    }
}

/// What restores a setting; `None`: it is as it should be.
fn restore(baseline: &Baseline, setting: Setting) -> Option<Change> {
    match setting {
        Setting::PublicAccessBlock(it) => plan::restore_public_access_block(it),
        Setting::ObjectOwnership(it) => plan::restore_object_ownership(it),
        Setting::BucketPolicy(it) => plan::restore_bucket_policy(baseline, it),
        Setting::DefaultEncryption(it) => plan::restore_default_encryption(baseline, it),
        Setting::Versioning(it) => plan::restore_versioning(it),
        Setting::Lifecycle(it) => plan::restore_lifecycle(baseline, it),
        Setting::Inventory(it) => plan::restore_inventory(baseline, it),
    }
}
