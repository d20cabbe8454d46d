//! What the ledger learns from a look at the guardrail's own parts, and what people are to be told because of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    decide::ledger::{MAX_CALLS, MAX_TEXT, Standing, begins, fact},
    outcome::{
        ledger::{Fact, FactKind, Item, OpenKind},
        trigger::Trigger,
        watched::{PartFinding, PartOutcome, REGISTRY_DOCUMENT, WatchOutcome, Watched},
    },
    value::caller,
};

/// What a look at the guardrail's own parts came to.
#[derive(Clone, Copy, Debug)]
pub struct LookedAtParts<'a> {
    /// Its name.
    pub id: &'a str,
    pub now: Timestamp,
    /// The guardrail's account.
    pub account: &'a str,
    pub watched: &'a Watched,
    /// It looked at all parts, and not at those alone that a call may have changed.
    pub at_all: bool,
}

impl Item {
    /// The item with what a look at the own parts came to. Unless somebody else is telling people, the look is to tell what
    /// is untold. A call and what was put back are always told.
    pub fn recorded_of_parts(mut self, looked: &LookedAtParts<'_>) -> Self {
        let LookedAtParts { id, now, watched, .. } = *looked;
        let call = watched.trigger.as_ref().filter(|it| !self.knows(it));
        let mut facts: Vec<_> = call.and_then(|it| looked.called(it)).into_iter().collect();
        // A message may come again an hour later.
        if let Some(call) = watched.trigger.as_ref().filter(|it| !self.calls.contains(it)) {
            self.calls.push(call.clone());
            self.calls.drain(..self.calls.len().saturating_sub(MAX_CALLS));
        }
        let put_back = watched.findings.iter().filter(|it| it.outcome == PartOutcome::Restored);
        facts.extend(put_back.map(|it| looked.found(FactKind::Restored, it)));
        // A copy of the document says that people know that it is gone.
        let gone = watched.findings.iter().filter(|it| is_told_once(it));
        let gone = gone.filter(|it| !self.untold.iter().any(|fact| fact.about == it.part));
        let gone: Vec<_> = gone.map(|it| looked.found(FactKind::Opened, it)).collect();
        facts.extend(gone);
        // What could not be read may be what another part is open for.
        let has_read_all = looked.at_all && watched.findings.iter().all(|it| it.outcome != PartOutcome::Unreadable);
        let is_put_back =
            |about: &str| watched.findings.iter().any(|it| it.part == about && it.outcome == PartOutcome::Restored);
        facts.extend(self.settle((id, now), &standing(&watched.findings), |_| has_read_all, is_put_back));
        if facts.iter().any(begins) {
            let caller = watched.trigger.as_ref().and_then(|it| it.actor.clone());
            self.join_incident(id, caller, false, now);
        }
        self.untold.extend(facts);
        self.looked = Some(now);
        self.claimed(id, now)
    }

    /// Whether people were told of this call, or will be.
    fn knows(&self, call: &Trigger) -> bool {
        self.calls.contains(call) || self.untold.iter().any(|it| it.calls.contains(call))
    }
}

impl LookedAtParts<'_> {
    /// That somebody called.
    fn called(&self, call: &Trigger) -> Option<Fact> {
        let kind = match self.watched.outcome {
            WatchOutcome::Tampered => FactKind::Tampered,
            WatchOutcome::Attempted => FactKind::Attempted,
            WatchOutcome::Broken | WatchOutcome::Whole | WatchOutcome::Unguarded => return None,
        };
        let part = self.watched.part.as_deref().unwrap_or("something unnamed");
        let actor = call.actor.as_deref().map_or("somebody".to_owned(), |it| caller::short(it, self.account));
        let text = format!("{} on {part} by {actor}", call.event_name);
        let critical = kind == FactKind::Tampered;
        Some(Fact { calls: vec![call.clone()], critical, ..fact(self.id, self.now, kind, part, text) })
    }

    fn found(&self, kind: FactKind, finding: &PartFinding) -> Fact {
        Fact { critical: true, ..fact(self.id, self.now, kind, &finding.part, in_words(finding)) }
    }
}

fn is_told_once(finding: &PartFinding) -> bool {
    finding.outcome != PartOutcome::Restored && finding.part.starts_with(REGISTRY_DOCUMENT)
}

fn in_words(finding: &PartFinding) -> String {
    let PartFinding { part, outcome, problem } = finding;
    match outcome {
        PartOutcome::Restored => format!("{part} was not as it should be, and was put back: {problem}"),
        PartOutcome::Broken | PartOutcome::Failed | PartOutcome::Unreadable => {
            format!("{part} is not as it should be: {problem}")
        }
    }
}

/// What is not as it should be and stays so, by part.
fn standing(findings: &[PartFinding]) -> BTreeMap<String, Standing> {
    let mut all: BTreeMap<String, Standing> = BTreeMap::new();
    for finding in findings.iter().filter(|it| !is_told_once(it)) {
        // What AWS says of a call that failed is another text each time.
        let (state, kind) = match finding.outcome {
            PartOutcome::Restored => continue,
            PartOutcome::Broken => (finding.problem.chars().take(MAX_TEXT).collect(), OpenKind::Failed),
            PartOutcome::Failed => ("failed".to_owned(), OpenKind::Failed),
            PartOutcome::Unreadable => ("unreadable".to_owned(), OpenKind::Unreadable),
        };
        let new = Standing::critical(&state, kind, &in_words(finding));
        all.entry(finding.part.clone())
            .and_modify(|it| {
                it.state = format!("{}, {}", it.state, new.state);
                it.text = format!("{}; {}", it.text, finding.problem);
            })
            .or_insert(new);
    }
    all
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn broken(part: &str, problem: &str) -> PartFinding {
        PartFinding::new(part, PartOutcome::Broken, problem)
    }

    fn watched(findings: &[PartFinding]) -> Watched {
        let outcome = if findings.is_empty() { WatchOutcome::Whole } else { WatchOutcome::Broken };
        Watched::new(outcome, None, None, findings.to_vec())
    }

    /// What people are told of a look, who then is known to be told.
    fn told(item: &mut Item, minutes: i64, watched: &Watched, at_all: bool) -> Vec<String> {
        let id = format!("look-{minutes}");
        let looked = LookedAtParts { id: &id, now: at(minutes), account: "111122223333", watched, at_all };
        let recorded = item.clone().recorded_of_parts(&looked);
        let told = recorded.to_tell(&id).iter().map(|it| format!("{:?} {}", it.kind, it.text)).collect();
        *item = recorded.confirmed(&id, at(minutes));
        told
    }

    fn sweep(item: &mut Item, minutes: i64, findings: &[PartFinding]) -> Vec<String> {
        told(item, minutes, &watched(findings), true)
    }

    const OPENED: &str = "Opened queue q is not as it should be: deaf";

    #[test]
    fn a_part_that_stays_broken_is_told_at_once_once_a_day_and_when_it_is_over() {
        let mut item = Item::default();
        let deaf = || broken("queue q", "deaf");
        assert_eq!(sweep(&mut item, 0, &[deaf()]), [OPENED]);
        assert_eq!(sweep(&mut item, 15, &[deaf()]), [""; 0]);
        assert_eq!(sweep(&mut item, 24 * 60, &[deaf()]), ["Reminder queue q is not as it should be: deaf"]);
        assert_eq!(item.open["queue q"].since, at(0), "its age is that of the first");
        assert_eq!(
            sweep(&mut item, 24 * 60 + 15, &[broken("queue q", "mute"), broken("rule r", "off")]),
            ["Opened queue q is not as it should be: mute", "Opened rule r is not as it should be: off"],
            "otherwise than before, and another part"
        );
        let mended = ["Cleared queue q is as it should be again", "Cleared rule r is as it should be again"];
        assert_eq!(sweep(&mut item, 24 * 60 + 30, &[]), mended);
        assert_eq!(item.incident.as_ref().unwrap().id, "look-1455", "its end belongs to what it ends");
        assert_eq!(sweep(&mut item, 24 * 60 + 45, &[]), [""; 0]);
        assert!(!item.is_open());
    }

    #[test]
    fn a_part_is_over_only_when_it_was_looked_at_and_everything_could_be_read() {
        let mut item = Item::default();
        sweep(&mut item, 0, &[broken("queue q", "deaf")]);
        let unreadable = |text: &str| PartFinding::new("rule r", PartOutcome::Unreadable, text);
        assert_eq!(
            sweep(&mut item, 1, &[unreadable("request 1")]),
            ["Opened rule r is not as it should be: request 1"]
        );
        assert_eq!(sweep(&mut item, 2, &[unreadable("request 2")]), [""; 0], "another request is no other state");
        assert_eq!(told(&mut item, 3, &watched(&[]), false), [""; 0], "a call led there, and only to some parts");
        assert_eq!(sweep(&mut item, 4, &[]).len(), 2);
    }

    #[test]
    fn what_is_put_back_and_who_called_is_told_each_time_and_a_call_that_comes_again_is_not() {
        let mut item = Item::default();
        let put_back = PartFinding::new("rule r", PartOutcome::Restored, "it was off");
        let call = |n: i64| Trigger {
            event_name: "DisableRule".to_owned(),
            event_id: Some(n.to_string()),
            event_time: Some(at(n).to_string()),
            actor: Some("arn:aws:iam::111122223333:user/mallory".to_owned()),
            ..Trigger::default()
        };
        let tampered = |n, findings| {
            let part = Some("rule r".to_owned());
            Watched::new(WatchOutcome::Tampered, part, Some(call(n)), findings)
        };
        let both = [
            "Tampered DisableRule on rule r by user/mallory",
            "Restored rule r was not as it should be, and was put back: it was off",
        ];
        for n in 0..5 {
            assert_eq!(told(&mut item, n, &tampered(n, vec![put_back.clone()]), false), both, "{n}");
        }
        assert_eq!(told(&mut item, 65, &tampered(4, vec![]), false), [""; 0]);
        assert_eq!(sweep(&mut item, 66, std::slice::from_ref(&put_back)), both[1..]);
        // What nobody could be told is told by the next look.
        let untold = tampered(67, vec![]);
        let looked =
            LookedAtParts { id: "dead", now: at(67), account: "111122223333", watched: &untold, at_all: false };
        item = item.recorded_of_parts(&looked).released("dead", false);
        assert_eq!(told(&mut item, 68, &untold, false), both[..1]);
    }

    #[test]
    fn a_document_that_is_gone_is_told_once_and_never_cleared() {
        let mut item = Item::default();
        let gone = broken("registry document of acme", "no longer registered");
        assert_eq!(sweep(&mut item, 0, &[gone]).len(), 1);
        assert_eq!(sweep(&mut item, 15, &[]), [""; 0]);
        assert!(item.open.is_empty());
    }
}
