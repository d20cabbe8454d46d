//! A report as CloudWatch metrics: lines in the embedded metric format, which cost no call.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    reconcile::Outcome,
    report::{BucketOutcome, Report},
};

/// The namespace of every metric.
pub const NAMESPACE: &str = "S3Guardrail";

/// Writes a line to standard output, from where Lambda takes it.
pub fn print(line: &Value) {
    #[expect(clippy::print_stdout, reason = "the embedded metric format is a line on standard output")]
    {
        println!("{line}");
    }
}

/// `Drift` and what came of it by `Control` (each a count), `Reconciles`, `Gone` (counts) and
/// `TimeToRestore` (milliseconds) over all. The bucket is a property, not a dimension: there may be thousands.
pub fn lines(report: &Report, now: Timestamp) -> Vec<Value> {
    let line = |dimensions: Value, metrics: &[(&str, &str, u64)]| {
        let definitions: Vec<_> = metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
        let mut line = json!({
            "_aws": {
                "Timestamp": now.as_millisecond(),
                "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": definitions}],
            },
            "Bucket": report.bucket,
        });
        for (name, _, value) in metrics {
            line[*name] = json!(value);
        }
        line
    };
    let mut overall =
        vec![("Reconciles", "Count", 1), ("Gone", "Count", u64::from(report.outcome == BucketOutcome::Gone))];
    overall.extend(report.error.iter().map(|_| ("Failed", "Count", 1)));
    overall.extend(report.drift_to_restored_ms.map(|it| ("TimeToRestore", "Milliseconds", it)));
    let mut lines = vec![line(json!([]), &overall)];
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
        let mut line = line(json!(["Control"]), &[("Drift", "Count", drift), (outcome, "Count", 1)]);
        line["Control"] = json!(finding.control);
        lines.push(line);
    }
    lines
}
