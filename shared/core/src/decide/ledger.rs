//! What the ledger learns from a look, and what people are to be told because of it.
//!
//! A look that is about to write says so first (an intent), records what it came to, claims what is untold, tells it, and
//! confirms that it did. Each of these is one conditional write of the subject's item; whoever loses one reads the item and
//! decides again. So of looks that overlap one tells, and of a look that dies another one does.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::{
    control::table::Control,
    decide::{
        echo::{Past, STALE},
        permitted,
    },
    outcome::{
        finding::{Finding, Left, Outcome, Written},
        ledger::{
            BUCKET, Claim, EXEMPTION, Fact, FactKind, Fight, HINDRANCE, Incident, Intent, Item, MEANING, Open,
            OpenKind, Span, Write,
        },
        report::{BucketOutcome, Report},
        trigger::Trigger,
    },
    value::caller,
};

/// For how long a look may be telling people before others take it for dead.
const CLAIM: SignedDuration = SignedDuration::from_secs(60);

/// For how long it may be writing.
const INTENT: SignedDuration = SignedDuration::from_secs(120);

/// How far the clocks of two machines are apart at most.
const SKEW: SignedDuration = SignedDuration::from_secs(10);

/// How often people are told of what stays as it is.
const REMINDER: SignedDuration = SignedDuration::from_hours(24);

/// So many restores of one control in so long a time are a fight.
const FIGHT: (usize, SignedDuration) = (3, SignedDuration::from_hours(1));

/// How often a control is restored that somebody fights over.
const BRAKE: SignedDuration = SignedDuration::from_secs(60);

/// For how long calls of one caller are one incident, and may explain what is found after them.
const INCIDENT: SignedDuration = SignedDuration::from_secs(60);

/// For how long a call of others is remembered.
const CALLS: SignedDuration = SignedDuration::from_mins(5);

/// How many calls an item holds, the latest.
pub(super) const MAX_CALLS: usize = 20;

/// The longest text of a fact, in characters: an item holds 25 KB.
pub(super) const MAX_TEXT: usize = 300;

/// An item that cannot be used: people are told everything, and it stays as it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    #[error("a newer version of the guardrail wrote it (meaning {0}, this one knows {MEANING})")]
    Newer(u64),
    #[error("{0}")]
    Invalid(String),
}

/// What a look came to.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a> {
    /// Its name.
    pub id: &'a str,
    pub now: Timestamp,
    /// The guardrail's account.
    pub account: &'a str,
    pub report: &'a Report,
}

impl Intent {
    /// That a look writes these from now on.
    pub fn new(controls: Vec<Control>, now: Timestamp) -> Self {
        Self { controls, begun: now, until: now + INTENT }
    }
}

impl Item {
    /// Reads an item, which anybody may have written who may write the table: nothing of it can hide a restore, and no
    /// standing state is silent for more than a day.
    pub fn read(item: Map<String, Value>, now: Timestamp) -> Result<Self, ItemError> {
        if let Some(newer) = item.get("meaning").and_then(Value::as_u64).filter(|it| *it > u64::from(MEANING)) {
            return Err(ItemError::Newer(newer));
        }
        let item: Self =
            serde_json::from_value(Value::Object(item)).map_err(|error| ItemError::Invalid(error.to_string()))?;
        Ok(item.without_the_future(now))
    }

    /// The item without what no look can have written by now.
    fn without_the_future(mut self, now: Timestamp) -> Self {
        let is_past = |it: Timestamp| it <= now + SKEW;
        self.looked = self.looked.filter(|it| is_past(*it));
        self.writes.retain(|_, it| is_past(it.ended));
        self.intents.retain(|_, it| is_past(it.begun) && it.until <= now + SKEW + INTENT);
        self.telling.take_if(|it| it.until > now + SKEW + CLAIM);
        self.restores.values_mut().for_each(|times| times.retain(|it| is_past(*it)));
        self.open.values_mut().for_each(|it| it.told = it.told.filter(|it| is_past(*it)));
        self.exemptions.values_mut().for_each(|it| it.told = it.told.filter(|it| is_past(*it)));
        self.fights.values_mut().for_each(|it| it.tell_at = it.tell_at.min(now + REMINDER));
        self
    }

    /// Adds to what a look knows: what others have written or are about to, and who called.
    pub fn inform(&self, look: &str, past: &mut Past, now: Timestamp) {
        for (control, write) in self.writes.iter().filter(|(_, it)| it.look != look) {
            past.saw_write(*control, write.ended);
        }
        for intent in self.live_intents(look, now) {
            intent.controls.iter().for_each(|it| past.saw_write(*it, intent.begun));
        }
        for call in &self.calls {
            past.saw_call(call.clone(), call.time().unwrap_or(now));
        }
        for control in self.fights.keys().filter(|it| self.is_fought_over(**it, now)) {
            past.fight(*control);
            let last = self.restores.get(control).and_then(|it| it.last()).map(|it| *it + BRAKE);
            last.into_iter().filter(|it| now < *it).for_each(|until| past.brake(*control, until));
        }
    }

    fn live_intents(&self, look: &str, now: Timestamp) -> impl Iterator<Item = &Intent> {
        self.intents.iter().filter(move |(id, it)| *id != look && now < it.until).map(|(_, it)| it)
    }

    /// The item with what a look came to. Unless somebody else is telling people, the look is to tell what is untold.
    pub fn recorded(mut self, looked: &Looked<'_>) -> Self {
        let Looked { id, now, report, .. } = *looked;
        let mut facts = self.interrupted(looked);
        self.settle_intents(looked);
        self.remember_calls(&report.calls, now);
        facts.extend(self.restored(looked));
        facts.extend(self.standing(looked));
        facts.extend(self.permitted(looked));
        for fact in &mut facts {
            fact.calls = self.calls_of(&fact.about, std::mem::take(&mut fact.calls));
        }
        if facts.iter().any(begins) {
            let caller = report.trigger.as_ref().and_then(|it| it.actor.clone());
            let explains = self.is_explained(&report.calls);
            self.join_incident(id, caller, explains, now);
        }
        self.untold.extend(facts);
        self.looked = Some(now);
        self.claimed(id, now)
    }

    /// What a look is to tell.
    pub fn to_tell(&self, look: &str) -> Vec<&Fact> {
        let claimed = self.telling.as_ref().filter(|it| it.look == look).map_or(&[][..], |it| &it.facts);
        self.untold.iter().filter(|it| claimed.contains(&it.id)).collect()
    }

    /// The item when people have been told; what has become untold meanwhile is claimed anew.
    pub fn confirmed(mut self, look: &str, now: Timestamp) -> Self {
        let Some(claim) = self.telling.take_if(|it| it.look == look) else { return self };
        let (told, untold) = std::mem::take(&mut self.untold).into_iter().partition(|it| claim.facts.contains(&it.id));
        self.untold = untold;
        let told: Vec<Fact> = told;
        for fact in &told {
            if let Some(open) = self.open.get_mut(&fact.about)
                // What has become of it since is told by itself.
                && open.since <= fact.at
            {
                open.told = Some(now);
            }
        }
        self.claimed(look, now)
    }

    /// The item when people could not be told. `is_hinted`: they know at least that there is something.
    pub fn released(mut self, look: &str, is_hinted: bool) -> Self {
        if let Some(claim) = self.telling.take_if(|it| it.look == look) {
            let claimed = self.untold.iter_mut().filter(|it| claim.facts.contains(&it.id));
            claimed.for_each(|it| it.is_hinted |= is_hinted);
        }
        self
    }

    /// Whether a sweep has to look, whatever its period.
    pub fn is_open(&self) -> bool {
        !(self.open.is_empty() && self.untold.is_empty() && self.intents.is_empty() && self.telling.is_none())
    }

    /// Whether somebody fights over a control: until an hour after its last restore.
    pub fn is_fought_over(&self, control: Control, now: Timestamp) -> bool {
        let is_recent = |it: &Timestamp| now.duration_since(*it) < FIGHT.1;
        self.fights.contains_key(&control) && self.restores.get(&control).is_some_and(|it| it.iter().any(is_recent))
    }

    /// Whether a new state of the item has to be written: a look that found nothing new is, once a day. Who called is
    /// news to a look that is writing: it may be restoring what they did.
    pub fn is_worth_writing(&self, new: &Self) -> bool {
        // Destructured, so that whoever adds a field says whether it counts.
        let Self {
            meaning,
            looked,
            open,
            writes,
            intents,
            untold,
            telling,
            restores,
            fights,
            exemptions,
            incident,
            calls,
            unknown,
        } = self;
        let is_same = *meaning == new.meaning
            && *open == new.open
            && *writes == new.writes
            && *intents == new.intents
            && *untold == new.untold
            && *telling == new.telling
            && *restores == new.restores
            && *fights == new.fights
            && *exemptions == new.exemptions
            && *incident == new.incident
            && (*calls == new.calls || intents.is_empty())
            && *unknown == new.unknown;
        let is_old = |it: Timestamp| new.looked.is_none_or(|new| new.duration_since(it) >= REMINDER);
        !is_same || looked.is_none_or(is_old)
    }

    pub(super) fn claimed(mut self, look: &str, now: Timestamp) -> Self {
        let is_telling = self.telling.as_ref().is_some_and(|it| now < it.until);
        if !is_telling {
            let facts: Vec<_> = self.untold.iter().map(|it| it.id.clone()).collect();
            self.telling = (!facts.is_empty()).then(|| Claim { look: look.to_owned(), facts, until: now + CLAIM });
        }
        self
    }

    /// Of the intents of looks that died, and of its own, a look keeps what may have been written: until it is good, or
    /// restored anew, nobody knows.
    fn settle_intents(&mut self, looked: &Looked<'_>) {
        let Looked { id, now, report, .. } = *looked;
        let finding = |control: &Control| report.findings.iter().find(|it| it.control == *control);
        let is_unsettled = |look: &str, control: &Control| match finding(control) {
            Some(it) if look == id => it.outcome == Outcome::Failed && matches!(it.written, Some(Written::Here(_))),
            Some(it) => it.outcome != Outcome::Restored,
            None => look != id && !report.read.contains(control),
        };
        let mut unsettled: Option<Intent> = None;
        self.intents.retain(|look, it| {
            if look != id && now < it.until {
                return true;
            }
            it.controls.retain(|control| is_unsettled(look, control));
            if !it.controls.is_empty() {
                let intent = unsettled.get_or_insert_with(|| Intent { controls: Vec::new(), until: now, ..it.clone() });
                intent.controls.append(&mut it.controls);
            }
            false
        });
        if let Some(mut intent) = unsettled {
            intent.controls.sort();
            intent.controls.dedup();
            self.intents.insert(id.to_owned(), intent);
        }
    }

    /// What looks that died had begun to restore, and is good.
    fn interrupted(&self, looked: &Looked<'_>) -> Vec<Fact> {
        let dead = self.intents.iter().filter(|(id, it)| *id != looked.id && it.until <= looked.now);
        let controls: BTreeSet<_> = dead.flat_map(|(_, it)| &it.controls).collect();
        let is_good = |it: &&Control| {
            // Who knows that it could not be restored hears that this is over.
            let is_told = self.open.get(it.id()).is_some_and(|it| it.told.is_some());
            let is_found = looked.report.findings.iter().any(|finding| finding.control == **it);
            looked.report.read.contains(it) && !is_found && !is_told
        };
        let fact = |control: &Control| {
            let text = format!("{control} is good again; a look that began to restore it did not end");
            fact(looked.id, looked.now, FactKind::Interrupted, control.id(), text)
        };
        controls.into_iter().filter(is_good).map(fact).collect()
    }

    fn remember_calls(&mut self, calls: &[Trigger], now: Timestamp) {
        for call in calls.iter().filter(|it| it.error_code.is_none()) {
            if !self.calls.contains(call) {
                self.calls.push(call.clone());
            }
        }
        self.calls.retain(|it| it.time().is_some_and(|it| now.duration_since(it) < CALLS));
        self.calls.drain(..self.calls.len().saturating_sub(MAX_CALLS));
    }

    /// Those of a fact, and of the last minute's those that can have caused it.
    fn calls_of(&self, about: &str, mut calls: Vec<Trigger>) -> Vec<Trigger> {
        if calls.is_empty()
            && let Some(control) = Control::ALL.into_iter().find(|it| it.id() == about)
        {
            calls.extend(self.calls.iter().filter(|it| it.can_have_changed(control)).cloned());
        }
        calls
    }

    /// What was restored. One whose drift was read before another look's write ended is that look's, and told by it.
    fn restored(&mut self, looked: &Looked<'_>) -> Vec<Fact> {
        let Looked { id, now, .. } = *looked;
        let mut facts = Vec::new();
        let restores = &mut self.restores;
        restores.retain(|_, times| {
            times.retain(|it| now.duration_since(*it) < FIGHT.1);
            !times.is_empty()
        });
        self.fights.retain(|control, _| restores.contains_key(control));
        for finding in looked.report.findings.iter().filter(|it| it.outcome == Outcome::Restored) {
            let control = finding.control;
            let Some(restore) = looked.report.restores.get(&control) else { continue };
            let known = self.writes.get(&control).filter(|it| it.look != id);
            // Or it will be, by a look that has written and not yet said so.
            let is_of_another = || self.live_intents(id, now).any(|it| it.controls.contains(&control));
            let is_called_after = |time: Timestamp| {
                let calls = self.calls.iter().filter(|it| it.can_have_changed(control));
                calls.filter_map(Trigger::time).any(|it| it.as_second() > time.as_second())
            };
            let is_known = match restore.written {
                // What it did not write itself it may have read as it was before.
                None => known.is_some_and(|it| restore.read < it.ended + STALE) || is_of_another(),
                // What somebody has changed since that write was sent may be another drift: rather told twice than never.
                Some(_) => known.is_some_and(|it| {
                    let sent = it.sent.unwrap_or(it.ended).min(it.ended);
                    restore.read < it.ended && !is_called_after(sent)
                }),
            };
            if let Some(Span { sent, ended }) = restore.written {
                self.writes.insert(control, Write { look: id.to_owned(), sent: Some(sent), ended });
            }
            if is_known {
                continue;
            }
            // Nobody fights with us over what somebody else has restored.
            let is_ours = restore.written.is_some();
            if let Some(Span { ended, .. }) = restore.written {
                self.restores.entry(control).or_default().push(ended);
            }
            let times = self.restores.get(&control).map_or(0, Vec::len);
            let (kind, text) = match self.fights.get_mut(&control) {
                None if !is_ours || times < FIGHT.0 => {
                    (FactKind::Restored, format!("{control} had drifted and was restored"))
                }
                None => {
                    self.fights.insert(control, Fight { since: now, tell_at: now + BRAKE });
                    (FactKind::Fight, fought(control, times, finding, looked.account))
                }
                // Told at twice the distance each time.
                Some(fight) if is_ours && fight.tell_at <= now => {
                    fight.tell_at = now + now.duration_since(fight.since);
                    (FactKind::Fight, fought(control, times, finding, looked.account))
                }
                Some(_) => continue,
            };
            facts.push(Fact { calls: finding.calls.clone(), ..fact(id, now, kind, control.id(), text) });
        }
        facts
    }

    /// What is not as it should be: told when it is new or otherwise than before, once a day, and when it is over.
    fn standing(&mut self, looked: &Looked<'_>) -> Vec<Fact> {
        let standing = looked.standing();
        // Only who asks for a bucket by name is told of its key and its trail there; they have items of their own.
        if looked.report.subject.is_none() {
            self.open.retain(|about, _| standing.contains_key(about) || looked.has_read(about) || !is_shared(about));
        }
        let found = |about: &str| looked.report.findings.iter().find(|it| it.control.id() == about);
        // It is too early to say of what may be drift.
        let is_doubtful =
            |about: &str| found(about).is_some_and(|it| matches!(it.left, Some(Left::NotYet | Left::Braked(_))));
        self.settle(
            (looked.id, looked.now),
            &standing,
            |about| looked.has_read(about) && !is_doubtful(about),
            |about| found(about).is_some(),
        )
    }

    /// The same by what a look found standing, which parts of the subject it has read and which it tells of otherwise.
    pub(super) fn settle(
        &mut self,
        (id, now): (&str, Timestamp),
        standing: &BTreeMap<String, Standing>,
        has_read: impl Fn(&str) -> bool,
        is_told_otherwise: impl Fn(&str) -> bool,
    ) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (about, Standing { state, kind: how, text, calls, is_reminded, is_critical }) in standing {
            let caller = calls.last().and_then(|it| it.actor.clone());
            let kind = match self.open.get_mut(about) {
                Some(open) if open.state == *state && (caller.is_none() || open.caller == caller) => {
                    open.kind = *how;
                    // It is untold, and known to be.
                    if self.untold.iter().any(|it| it.about == *about) {
                        continue;
                    }
                    match open.told {
                        None => FactKind::Opened,
                        Some(told) if *is_reminded && now.duration_since(told) >= REMINDER => FactKind::Reminder,
                        Some(_) => continue,
                    }
                }
                Some(open) => {
                    *open = Open { state: state.clone(), kind: *how, since: now, told: open.told, caller };
                    FactKind::Opened
                }
                None => {
                    self.open.insert(
                        about.clone(),
                        Open { state: state.clone(), kind: *how, since: now, told: None, caller },
                    );
                    FactKind::Opened
                }
            };
            let since = self.open.get(about).map(|it| it.since);
            let (calls, critical) = (calls.clone(), *is_critical);
            facts.push(Fact { since, calls, critical, ..fact(id, now, kind, about, text.clone()) });
        }
        let is_over = |about: &&String| !standing.contains_key(*about) && has_read(about);
        let over: Vec<_> = self.open.keys().filter(is_over).cloned().collect();
        for about in over {
            let Some(open) = self.open.remove(&about) else { continue };
            let is_being_told = self
                .telling
                .iter()
                .flat_map(|it| &it.facts)
                .any(|id| self.untold.iter().any(|it| it.id == *id && it.about == about));
            let is_restored = is_told_otherwise(&about);
            if !is_being_told || is_restored {
                // Nobody has to know any more.
                self.untold.retain(|it| it.about != about || !matches!(it.kind, FactKind::Opened | FactKind::Reminder));
            }
            // That it was restored says that it is over.
            if open.told.is_none() && !is_being_told || is_restored {
                continue;
            }
            let text = format!("{about} is as it should be again");
            facts.push(Fact { since: Some(open.since), ..fact(id, now, FactKind::Cleared, &about, text) });
        }
        facts
    }

    /// What there is to say of the bucket's exemptions.
    fn permitted(&mut self, looked: &Looked<'_>) -> Vec<Fact> {
        let Some(exemptions) = &looked.report.exemptions else { return Vec::new() };
        let told = permitted::announce(&mut self.exemptions, exemptions, looked.now);
        let fact =
            |(control, text)| fact(looked.id, looked.now, FactKind::Exemption, &format!("{EXEMPTION}{control}"), text);
        told.into_iter().map(fact).collect()
    }

    /// Whether one of these calls explains what is open.
    fn is_explained(&self, calls: &[Trigger]) -> bool {
        calls.iter().any(|call| {
            self.open.keys().any(|about| Control::ALL.iter().any(|it| it.id() == about && call.can_have_changed(*it)))
        })
    }

    /// The same incident goes on: the same caller within a minute, or a call that explains what is open.
    pub(super) fn join_incident(&mut self, look: &str, caller: Option<String>, explains: bool, now: Timestamp) {
        let goes_on = |it: &Incident| {
            let is_recent = now.duration_since(it.last) < INCIDENT;
            is_recent && (it.caller == caller || caller.is_none()) || explains
        };
        match self.incident.as_mut().filter(|it| goes_on(it)) {
            Some(incident) => incident.last = now,
            None => self.incident = Some(Incident { id: look.to_owned(), caller, last: now }),
        }
    }
}

/// Whether it is about what several buckets may lean on.
fn is_shared(about: &str) -> bool {
    let about = about.strip_prefix(HINDRANCE).unwrap_or(about);
    [Control::KmsKey, Control::Trail].iter().any(|it| it.id() == about)
}

fn fought(control: Control, times: usize, finding: &Finding, account: &str) -> String {
    let by = match finding.calls.last() {
        Some(call) => {
            let actor = call.actor.as_deref().map(|it| caller::short(it, account));
            format!("; last changed by {}", actor.as_deref().unwrap_or("somebody"))
        }
        None => "; no call of others was seen, so that it may be S3 that did not keep it".to_owned(),
    };
    format!("{control} restored {times} times within an hour{by}")
}

/// Something that a look found not to be as it should be, and left so.
pub(super) struct Standing {
    pub(super) state: String,
    pub(super) kind: OpenKind,
    pub(super) text: String,
    calls: Vec<Trigger>,
    /// Whether people are told again of it each day.
    is_reminded: bool,
    is_critical: bool,
}

impl Standing {
    pub(super) fn critical(state: &str, kind: OpenKind, text: &str) -> Self {
        let (state, text) = (state.to_owned(), text.to_owned());
        Self { state, kind, text, calls: Vec::new(), is_reminded: true, is_critical: true }
    }
}

impl OpenKind {
    /// `None`: nothing is left open.
    fn new(finding: &Finding) -> Option<Self> {
        match (finding.outcome, &finding.left) {
            (Outcome::Restored, _) | (_, Some(Left::NotYet | Left::Braked(_))) => None,
            (_, Some(Left::EnforcedAbove)) => Some(Self::EnforcedAbove),
            (_, Some(Left::Exempt(_))) | (Outcome::Exempt, _) => Some(Self::Exempt),
            (_, Some(Left::ForNow | Left::Held)) => Some(Self::Left),
            (Outcome::WouldRestore, None) => Some(Self::Observed),
            (Outcome::Failed | Outcome::Unstable, None) => Some(Self::Failed),
            (Outcome::Unreadable, None) => Some(Self::Unreadable),
        }
    }
}

/// Whether it may be the first of an incident. What goes on, and that it is over, belongs to the one before.
pub(super) fn begins(fact: &Fact) -> bool {
    match fact.kind {
        FactKind::Reminder | FactKind::Cleared | FactKind::Exemption => false,
        FactKind::Restored
        | FactKind::Opened
        | FactKind::Fight
        | FactKind::Interrupted
        | FactKind::Tampered
        | FactKind::Attempted => true,
    }
}

/// What a look has to tell.
pub(super) fn fact(look: &str, now: Timestamp, kind: FactKind, about: &str, text: String) -> Fact {
    let kind_in_id = serde_json::to_value(kind).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
    Fact {
        id: format!("{look} {kind_in_id} {about}"),
        kind,
        about: about.to_owned(),
        at: now,
        since: None,
        calls: Vec::new(),
        text: text.chars().take(MAX_TEXT).collect(),
        critical: kind == FactKind::Fight,
        is_hinted: false,
    }
}

impl Looked<'_> {
    /// Whether what is open under this name would have been found, were it still so.
    fn has_read(&self, about: &str) -> bool {
        let control = about.strip_prefix(HINDRANCE).unwrap_or(about);
        about == BUCKET || self.report.read.iter().any(|it| it.id() == control)
    }

    fn standing(&self) -> BTreeMap<String, Standing> {
        let mut all: BTreeMap<String, Standing> = BTreeMap::new();
        let mut add = |about: String, new: Standing| {
            all.entry(about)
                .and_modify(|it| {
                    it.state.push_str(", ");
                    it.state.push_str(&new.state);
                    it.kind = it.kind.max(new.kind);
                    it.is_reminded |= new.is_reminded;
                    it.is_critical |= new.is_critical;
                })
                .or_insert(new);
        };
        let Report { findings, hindrances, error, outcome, .. } = self.report;
        for finding in findings {
            let Some(kind) = OpenKind::new(finding) else { continue };
            let left = match &finding.left {
                None => "",
                Some(Left::Held) => " held",
                Some(_) => " left",
            };
            let state = format!("{:?} {:?}{left}", finding.outcome, finding.denied_by);
            let why = finding.error.as_ref().or(finding.note.as_ref()).map(|it| format!(": {it}")).unwrap_or_default();
            let text = format!("{} is not as it should be{why}", finding.control);
            let is_critical = matches!(finding.outcome, Outcome::Failed | Outcome::Unreadable | Outcome::Unstable);
            let (calls, is_reminded) = (finding.calls.clone(), finding.outcome != Outcome::Exempt);
            add(finding.control.to_string(), Standing { state, kind, text, calls, is_reminded, is_critical });
        }
        for hindrance in hindrances {
            let standing = Standing {
                is_critical: hindrance.certain,
                ..Standing::critical(&hindrance.to_string(), OpenKind::Endangered, &hindrance.to_string())
            };
            add(hindrance.about(), standing);
        }
        if let Some(error) = error {
            let state = error.chars().take(MAX_TEXT).collect::<String>();
            add(BUCKET.to_owned(), Standing::critical(&state, OpenKind::Unreadable, error));
        }
        if *outcome == BucketOutcome::Gone {
            add(BUCKET.to_owned(), Standing::critical("gone", OpenKind::Gone, "the guarded bucket does not exist"));
        }
        all
    }
}

#[cfg(test)]
mod tests;
