//! A report as CloudWatch metrics: lines in the embedded metric format, which cost no call.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::outcome::{
    finding::Outcome,
    report::{BucketOutcome, Report},
    watched::{WatchOutcome, Watched},
};

/// The namespace of every metric.
pub const NAMESPACE: &str = "S3Guardrail";

/// `Drift` and what came of it by `Control` (each a count), `Reconciles`, `Gone`, `RecordsFailed` (counts) and
/// `TimeToRestore` (milliseconds) over all. The bucket is a property, not a dimension: there may be thousands.
pub fn lines(report: &Report, now: Timestamp) -> Vec<Value> {
    let line = |dimensions: &[(&str, &str)], metrics: &[(&str, &str, u64)]| {
        let mut line = line(now, dimensions, metrics);
        line["Bucket"] = json!(report.bucket);
        line
    };
    let mut overall =
        vec![("Reconciles", "Count", 1), ("Gone", "Count", u64::from(report.outcome == BucketOutcome::Gone))];
    overall.extend(report.error.iter().map(|_| ("Failed", "Count", 1)));
    overall.extend(report.drift_to_restored_ms.map(|it| ("TimeToRestore", "Milliseconds", it)));
    overall.extend(report.missed_event.then_some(("MissedEvents", "Count", 1)));
    overall.extend(report.record_error.iter().map(|_| ("RecordsFailed", "Count", 1)));
    let mut lines = vec![line(&[], &overall)];
    for finding in &report.findings {
        let outcome = match finding.outcome {
            Outcome::Restored => "Restored",
            Outcome::WouldRestore => "WouldRestore",
            Outcome::Failed => "Failed",
            Outcome::Unreadable => "Unreadable",
            Outcome::Exempt => "Exempt",
            Outcome::Unstable => "Unstable",
        };
        let drift = u64::from(finding.outcome != Outcome::Unreadable);
        let dimensions = [("Control", finding.control.id())];
        lines.push(line(&dimensions, &[("Drift", "Count", drift), (outcome, "Count", 1)]));
    }
    lines
}

/// `Sweeps` (1) and `SweptBuckets` (counts).
pub fn sweep(buckets: usize, now: Timestamp) -> Value {
    line(now, &[], &[("Sweeps", "Count", 1), ("SweptBuckets", "Count", u64::try_from(buckets).unwrap_or(u64::MAX))])
}

/// `Tampered`, `TamperingAttempted` or `ChainBroken` (1): what happened to the guardrail itself.
pub fn watched(watched: &Watched, now: Timestamp) -> Option<Value> {
    let name = match watched.outcome {
        WatchOutcome::Whole => return None,
        WatchOutcome::Tampered => "Tampered",
        WatchOutcome::Attempted => "TamperingAttempted",
        WatchOutcome::Broken | WatchOutcome::Unguarded => "ChainBroken",
    };
    Some(line(now, &[], &[(name, "Count", 1)]))
}

/// A line that defines these metrics with these dimensions.
fn line(now: Timestamp, dimensions: &[(&str, &str)], metrics: &[(&str, &str, u64)]) -> Value {
    let definitions: Vec<_> = metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    // Over all, and by the dimensions if there are any: an alarm needs the former.
    let names: Vec<_> = dimensions.iter().map(|(name, _)| *name).collect();
    let sets = if names.is_empty() { json!([[]]) } else { json!([[], names]) };
    let mut line = json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": sets, "Metrics": definitions}],
        },
    });
    for (name, value) in dimensions {
        line[*name] = json!(value);
    }
    for (name, _, value) in metrics {
        line[*name] = json!(value);
    }
    line
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{control::table::Control, outcome::finding::Finding};

    fn report(outcomes: &[Outcome]) -> Report {
        let changed = || (json!("a long document"), Value::Null);
        let finding = |outcome: &Outcome| Finding::new(Control::Versioning, *outcome, changed());
        let findings = outcomes.iter().map(finding).collect();
        Report { findings, ..Report::new("acme-data", BucketOutcome::Restored, None) }
    }

    fn lines(report: &Report) -> Vec<Value> {
        super::lines(report, "2026-11-23T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_restore_is_two_lines() {
        let report = Report { drift_to_restored_ms: Some(1834), ..report(&[Outcome::Restored]) };
        let lines: String = lines(&report).iter().map(|it| format!("{it}\n")).collect();
        expect![[r#"
            {"_aws":{"Timestamp":1795428000000,"CloudWatchMetrics":[{"Namespace":"S3Guardrail","Dimensions":[[]],"Metrics":[{"Name":"Reconciles","Unit":"Count"},{"Name":"Gone","Unit":"Count"},{"Name":"TimeToRestore","Unit":"Milliseconds"}]}]},"Reconciles":1,"Gone":0,"TimeToRestore":1834,"Bucket":"acme-data"}
            {"_aws":{"Timestamp":1795428000000,"CloudWatchMetrics":[{"Namespace":"S3Guardrail","Dimensions":[[],["Control"]],"Metrics":[{"Name":"Drift","Unit":"Count"},{"Name":"Restored","Unit":"Count"}]}]},"Control":"versioning","Drift":1,"Restored":1,"Bucket":"acme-data"}
        "#]]
        .assert_eq(&lines);
    }

    /// CloudWatch drops a line whose definitions name what is not there, without a word.
    #[test]
    fn every_metric_and_dimension_that_a_line_defines_is_in_it() {
        use Outcome::*;
        let all = [Restored, WouldRestore, Failed, Unreadable, Exempt, Unstable];
        let failed = Report {
            error: Some("no".to_owned()),
            record_error: Some("no".to_owned()),
            drift_to_restored_ms: Some(0),
            ..report(&all)
        };
        let lines = lines(&failed);
        assert_eq!(lines.len(), 1 + all.len());
        for line in lines {
            let definition = &line["_aws"]["CloudWatchMetrics"][0];
            let metrics = definition["Metrics"].as_array().unwrap().iter().map(|it| &it["Name"]);
            for name in metrics.clone() {
                assert!(line[name.as_str().unwrap()].is_u64(), "{line}");
            }
            for name in definition["Dimensions"].as_array().unwrap().iter().flat_map(|it| it.as_array().unwrap()) {
                assert!(line[name.as_str().unwrap()].is_string(), "{line}");
            }
            assert_eq!(
                metrics.map(serde_json::Value::to_string).collect::<std::collections::BTreeSet<_>>().len(),
                definition["Metrics"].as_array().unwrap().len()
            );
        }
    }

    #[test]
    fn what_could_not_be_read_is_not_counted_as_drift() {
        assert_eq!(lines(&report(&[Outcome::Unreadable]))[1]["Drift"], 0);
        assert_eq!(lines(&report(&[Outcome::Exempt]))[1]["Drift"], 1);
    }

    #[test]
    fn a_sweep_and_what_happened_to_the_guardrail_are_a_line_each() {
        let now = Timestamp::UNIX_EPOCH;
        let swept = sweep(7, now);
        assert_eq!((&swept["Sweeps"], &swept["SweptBuckets"]), (&json!(1), &json!(7)));
        for (outcome, name) in [
            (WatchOutcome::Tampered, "Tampered"),
            (WatchOutcome::Attempted, "TamperingAttempted"),
            (WatchOutcome::Broken, "ChainBroken"),
            (WatchOutcome::Unguarded, "ChainBroken"),
        ] {
            let happened = Watched::new(outcome, None, None, Vec::new());
            assert_eq!(watched(&happened, now).unwrap()[name], json!(1), "{outcome:?}");
        }
        assert_eq!(watched(&Watched::new(WatchOutcome::Whole, None, None, Vec::new()), now), None);
    }
}
