//! What a person is to do.

use std::collections::BTreeSet;

use crate::{
    control::table::Control,
    outcome::{
        finding::{Finding, Left, Outcome},
        ledger::FactKind,
        report::{BucketOutcome, Report},
        trigger::Trigger,
        watched::{WatchOutcome, Watched},
    },
    tell::{code::Language, subject::owners_setting},
    value::failure::Denial,
};

/// What to do about what was found of the own parts.
pub fn watch_advice(watched: &Watched) -> &'static str {
    match watched.outcome {
        WatchOutcome::Attempted => {
            "Ask who made the call what it was for. It changed nothing; AWS may not say what it was aimed at, so it may have had nothing to do with the guardrail."
        }
        WatchOutcome::Tampered if watched.part.as_deref().is_some_and(|it| it.starts_with("registry parameter ")) => {
            "If you meant it, nothing. If not: take the caller's rights away first, then put the document back with `guardrail restore-registration BUCKET`. infra/deploy.sh knows nothing of registry documents. RUNBOOK.md, \"TAMPERED\", says what else to look at."
        }
        WatchOutcome::Tampered => {
            "If this was a deployment of yours, nothing. If not, take the caller's rights away first, then run infra/deploy.sh again: it puts every part back. RUNBOOK.md, \"TAMPERED\", says what else to look at."
        }
        WatchOutcome::Whole => "Nothing.",
        WatchOutcome::Broken | WatchOutcome::Unguarded => {
            "Until every part is back, changes to guarded buckets may go unseen except by the sweep. Run infra/deploy.sh again; for a registry document, `guardrail restore-registration BUCKET`. RUNBOOK.md, \"BROKEN\", has each part."
        }
    }
}

/// What to do about a report, a line each.
pub fn advice(report: &Report) -> String {
    let has = |outcome| report.findings.iter().any(|it| it.outcome == outcome);
    let mut lines = Vec::new();
    if owners_setting(report).is_some() {
        lines.push("Nothing was undone: it belongs to the owner. Ask whoever made the call what it was for; if it was not meant, undo it and take the caller's rights away.");
    }
    if report.outcome == BucketOutcome::Gone {
        lines.push("If that was meant, delete the bucket's registry parameter. If not: somebody else can take the name now; create the bucket again at once, then run guardrail-bootstrap.");
    }
    if report.error.is_some() {
        lines.push("Mend what the error says. Until then nothing restores this bucket.");
    }
    if !report.hindrances.is_empty() {
        lines.push("Nothing has drifted by these statements yet. Where one denies the guardrail, or does not allow it, it cannot restore: remove or narrow the statement now, or except the guardrail's role in it, and ask whoever wrote it what it was for.");
    }
    if !report.exposures.is_empty() {
        lines.push("What lets others in, or deletes early, is a setting of the bucket's owner: the guardrail has not touched it. If it was not meant, take the statement or the rule out, and find out what was read or removed meanwhile: CloudTrail has the data events.");
    }
    if has(Outcome::Failed) {
        lines.push("Mend what the error of each control says; Lambda tries twice more, and then every event and sweep tries again. The controls not named as failed are in force.");
    }
    let denied = |key: bool, denial| {
        let about_key = |it: &Finding| it.control == Control::KmsKey;
        report.findings.iter().any(|it| it.denied_by == Some(denial) && about_key(it) == key)
    };
    let denied_at_all = |denial| denied(true, denial) || denied(false, denial);
    if denied(false, Denial::ResourcePolicy) {
        lines.push("The bucket's own policy denies the guardrail's role. The way out: the account's root user can always delete or mend it; without a root password, sts:AssumeRoot from the management account with the task policy root-task/S3UnlockBucketPolicy. Then find out who wrote it.");
    }
    if denied(true, Denial::ResourcePolicy) {
        lines.push("The key's own policy denies the guardrail's role. One of the key's administrators has to mend it; if it has none left, AWS Support.");
    }
    if denied_at_all(Denial::ServiceControlPolicy) || denied_at_all(Denial::ResourceControlPolicy) {
        lines.push("A policy of the organization (SCP or RCP) denies the guardrail's role. Nobody in this account can change that, root included: ask for an exception for the role.");
    }
    if denied_at_all(Denial::IdentityPolicy)
        || denied_at_all(Denial::PermissionsBoundary)
        || denied_at_all(Denial::SessionPolicy)
    {
        lines.push("The guardrail's role itself lacks the right: somebody changed its policy or its boundary. Run infra/deploy.sh again.");
    }
    if denied_at_all(Denial::VpcEndpointPolicy) {
        lines.push(
            "The policy of a VPC endpoint denies the guardrail's role: mend that, or take the function out of the VPC.",
        );
    }
    if denied_at_all(Denial::Unsaid) {
        lines.push("AWS does not say what denied the guardrail's role: look for a Deny in the bucket policy, the role's policies and the organization's policies.");
    }
    if has(Outcome::Unstable) {
        lines.push("Something undoes the guardrail's writes, or S3 hands them back changed. Look in CloudTrail for who writes this setting right after the guardrail's role does.");
    }
    if report.findings.iter().any(|it| it.outcome == Outcome::WouldRestore && it.left.is_none()) {
        lines.push("Set \"mode\": \"enforce\" in the registry document to have this restored.");
    }
    if report.findings.iter().any(|it| it.left == Some(Left::Held)) {
        lines.push("It is held because somebody fights over it and the registry document says so. Find out who; `guardrail reconcile BUCKET` restores it at once, \"on_fight\": \"restore\" has it restored once a minute.");
    }
    if report.missed_event {
        lines.push("Find out why no event came: see RUNBOOK.md, \"missed event\". Until then this bucket is mended at the pace of the sweep.");
    }
    let has_fact = |kind| report.facts.iter().any(|it| it.kind == kind);
    if has_fact(FactKind::Opened) || has_fact(FactKind::Reminder) {
        lines.push("What is OPEN still is so: do what the first alert about it says. `guardrail plan BUCKET` shows it, `guardrail reconcile BUCKET` tries at once.");
    }
    if has_fact(FactKind::Restored) && !has(Outcome::Restored) {
        lines.push("What was restored is in force again; `guardrail history BUCKET` has before and after.");
    }
    if has_fact(FactKind::Fight) {
        lines.push("Somebody, or something, changes it again each time: find out who, and change the code that does it or take its rights away. Until then it is restored once a minute at most, or held where the registry document says so.");
    }
    if has_fact(FactKind::Exemption) {
        lines.push("If an exemption that ends is still needed: `guardrail exempt BUCKET CONTROL --until DATE --reason TEXT`. If not, nothing: from its end on the control is restored as ever. One of more than 90 days: give it an end that somebody remembers.");
    }
    if has(Outcome::Restored) {
        lines.push(match report.record {
            Some(_) => "The settings shown as restored are in force again. If the change was meant, or if this broke an application: `guardrail rollback RECORD --until DATE --reason TEXT` exempts the bucket from it and puts the change back.",
            None => "The settings shown as restored are in force again. If the change was meant, add an exemption to the bucket's registry document and make it again.",
        });
    }
    let code = code_to_change(report);
    if !code.is_empty() {
        lines.push("The call came from infrastructure code: change the code, or its next run does this again.");
    }
    if lines.is_empty() {
        lines.push("Nothing.");
    }
    lines.into_iter().chain(code.into_iter().flatten()).map(|it| format!("  {it}\n")).collect()
}

/// For each control that infrastructure code took off its baseline the line that does, where its language is known.
fn code_to_change(report: &Report) -> BTreeSet<Option<&'static str>> {
    let restored = report.findings.iter().filter(|it| it.outcome == Outcome::Restored);
    let restored = restored.map(|it| (Some(it.control), &it.calls));
    let fights = report.facts.iter().filter(|it| it.kind == FactKind::Fight);
    let fights = fights.map(|it| (Control::ALL.into_iter().find(|control| control.id() == it.about), &it.calls));
    let of_calls = |(control, calls): (Option<Control>, &Vec<Trigger>)| {
        let languages = calls.iter().filter_map(|it| Language::of(it.user_agent.as_deref()?));
        languages.map(|it| control.and_then(|control| it.line(control))).collect::<Vec<_>>()
    };
    restored.chain(fights).flat_map(of_calls).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::Value;

    use super::*;
    use crate::outcome::finding::Left;
    use crate::outcome::{
        exposure::{Exposure, ExposureKind},
        hindrance::{Document, Hindrance},
        ledger::Fact,
        trigger::Trigger,
    };

    fn finding(control: Control, outcome: Outcome) -> Finding {
        Finding::new(control, outcome, (Value::Null, Value::Null))
    }

    fn report(outcome: BucketOutcome, findings: Vec<Finding>) -> Report {
        Report { findings, ..Report::new("acme-data", outcome, None) }
    }

    fn called(event_name: &str, user_agent: &str) -> Option<Trigger> {
        let (event_name, user_agent) = (event_name.to_owned(), Some(user_agent.to_owned()));
        Some(Trigger { event_name, user_agent, ..Trigger::default() })
    }

    /// The first words of each line.
    #[track_caller]
    fn check(report: &Report, expected: Expect) {
        let words = |line: &str| line.split_whitespace().take(6).collect::<Vec<_>>().join(" ");
        expected.assert_eq(&advice(report).lines().map(|it| format!("{}\n", words(it))).collect::<String>());
    }

    #[test]
    fn a_registry_document_is_put_back_by_another_way_than_other_parts() {
        let advised = |outcome, part: Option<&str>| {
            let part = part.map(str::to_owned);
            watch_advice(&Watched::new(outcome, part, None, Vec::new()))
        };
        let (document, other) =
            (Some("registry parameter /s3-guardrail/buckets/acme"), Some("queue s3-guardrail-work"));
        assert!(advised(WatchOutcome::Tampered, document).contains("guardrail restore-registration BUCKET"));
        for part in [other, None] {
            assert!(advised(WatchOutcome::Tampered, part).contains("run infra/deploy.sh again"));
        }
        assert!(advised(WatchOutcome::Attempted, document).contains("It changed nothing"));
        assert!(advised(WatchOutcome::Broken, document).contains("has each part"));
    }

    #[test]
    fn where_nothing_is_to_be_done_that_is_said() {
        assert_eq!(advice(&report(BucketOutcome::Compliant, vec![])), "  Nothing.\n");
    }

    #[test]
    fn each_outcome_has_its_advice() {
        let of = |outcome| report(BucketOutcome::Failed, vec![finding(Control::Versioning, outcome)]);
        check(
            &report(BucketOutcome::Gone, vec![]),
            expect![[r#"
            If that was meant, delete the
        "#]],
        );
        check(
            &Report { error: Some("e".to_owned()), ..report(BucketOutcome::Failed, vec![]) },
            expect![[r#"
            Mend what the error says. Until
        "#]],
        );
        check(
            &of(Outcome::Failed),
            expect![[r#"
            Mend what the error of each
        "#]],
        );
        check(
            &of(Outcome::Unstable),
            expect![[r#"
            Something undoes the guardrail's writes, or
        "#]],
        );
        check(
            &of(Outcome::WouldRestore),
            expect![[r#"
            Set "mode": "enforce" in the registry
        "#]],
        );
        check(
            &of(Outcome::Restored),
            expect![[r#"
            The settings shown as restored are
        "#]],
        );
        check(
            &of(Outcome::Exempt),
            expect![[r#"
            Nothing.
        "#]],
        );
        let left = Finding { left: Some(Left::ForNow), ..finding(Control::Versioning, Outcome::WouldRestore) };
        check(
            &report(BucketOutcome::Drifted, vec![left]),
            expect![[r#"
            Nothing.
        "#]],
        );
        check(
            &Report { missed_event: true, ..of(Outcome::Exempt) },
            expect![[r#"
            Find out why no event came:
        "#]],
        );
        let trigger = called("PutBucketWebsite", "console");
        check(
            &Report { trigger, ..report(BucketOutcome::Compliant, vec![]) },
            expect![[r#"
            Nothing was undone: it belongs to
        "#]],
        );
    }

    #[test]
    fn what_endangers_is_the_owners_to_mend() {
        let hindrance = Hindrance::example(Document::BucketPolicy, true);
        let exposure = Exposure::example(ExposureKind::EarlyDeletion, Control::Lifecycle);
        let endangered = || report(BucketOutcome::Endangered, vec![]);
        check(
            &Report { hindrances: vec![hindrance], ..endangered() },
            expect![[r#"
            Nothing has drifted by these statements
        "#]],
        );
        check(
            &Report { exposures: vec![exposure], ..endangered() },
            expect![[r#"
            What lets others in, or deletes
        "#]],
        );
    }

    #[test]
    fn whoever_denied_the_role_is_named_by_the_kind_of_policy() {
        let denied = |control, denial| {
            let finding = Finding { denied_by: Some(denial), ..finding(control, Outcome::Unreadable) };
            advice(&report(BucketOutcome::Failed, vec![finding]))
        };
        for (control, denial, way) in [
            (Control::BucketPolicy, Denial::ResourcePolicy, "root-task/S3UnlockBucketPolicy"),
            (Control::KmsKey, Denial::ResourcePolicy, "One of the key's administrators"),
            (Control::Versioning, Denial::ServiceControlPolicy, "policy of the organization"),
            (Control::KmsKey, Denial::ResourceControlPolicy, "policy of the organization"),
            (Control::Versioning, Denial::IdentityPolicy, "infra/deploy.sh"),
            (Control::KmsKey, Denial::PermissionsBoundary, "infra/deploy.sh"),
            (Control::Versioning, Denial::SessionPolicy, "infra/deploy.sh"),
            (Control::Versioning, Denial::VpcEndpointPolicy, "VPC endpoint"),
            (Control::KmsKey, Denial::Unsaid, "AWS does not say"),
        ] {
            let advised = denied(control, denial);
            assert!(advised.lines().count() == 1 && advised.contains(way), "{control} {denial:?}: {advised}");
        }
    }

    #[test]
    fn what_another_look_found_has_its_advice_too() {
        let advised = |kind| {
            let fact = Fact {
                id: "a".to_owned(),
                kind,
                about: "versioning".to_owned(),
                at: jiff::Timestamp::UNIX_EPOCH,
                since: None,
                calls: Vec::new(),
                text: String::new(),
                critical: false,
                is_hinted: false,
            };
            advice(&Report { facts: vec![fact], ..report(BucketOutcome::Compliant, vec![]) })
        };
        for (kind, way) in [
            (FactKind::Opened, "guardrail plan"),
            (FactKind::Reminder, "guardrail reconcile"),
            (FactKind::Restored, "guardrail history"),
            (FactKind::Fight, "change the code that does it"),
            (FactKind::Cleared, "Nothing."),
            (FactKind::Interrupted, "Nothing."),
        ] {
            assert!(advised(kind).contains(way), "{kind:?}: {}", advised(kind));
        }
    }

    #[test]
    fn infrastructure_code_is_blamed_for_its_own_change_only() {
        let restored = || vec![finding(Control::Versioning, Outcome::Restored)];
        let advised = |event_name, user_agent| {
            let trigger = called(event_name, user_agent).unwrap();
            advice(&report(BucketOutcome::Restored, restored()).caused_by(&[trigger])).contains("infrastructure code")
        };
        for agent in ["[Terraform/1.13.4]", "OpenTofu", "pulumi", "cloudformation.amazonaws.com", "crossplane"] {
            assert!(advised("PutBucketVersioning", agent), "{agent}");
            assert!(!advised("PutBucketPolicy", agent), "{agent}: another call's");
        }
        assert!(!advised("PutBucketVersioning", "aws-cli/2.31"));
        let fight = Fact {
            id: "a".to_owned(),
            kind: FactKind::Fight,
            about: "versioning".to_owned(),
            at: jiff::Timestamp::UNIX_EPOCH,
            since: None,
            calls: called("PutBucketVersioning", "Terraform/1.13.4").into_iter().collect(),
            text: String::new(),
            critical: true,
            is_hinted: false,
        };
        let fought = advice(&Report { facts: vec![fight], ..report(BucketOutcome::Compliant, vec![]) });
        assert!(fought.contains("versioning_configuration { status = \"Enabled\" }"), "{fought}");
        let record = "s3://acme-logs/s3-guardrail/history/acme-data/1.json".parse().ok();
        let recorded = advice(&Report { record, ..report(BucketOutcome::Restored, restored()) });
        assert!(recorded.contains("guardrail rollback RECORD"), "{recorded}");
    }
}
