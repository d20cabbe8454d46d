//! What a run found, for machines and for people. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::{decide::judge::ProofOutcome, tell::redact::redact};

/// One thing that was tried or looked up.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    pub name: &'static str,
    /// What was sent.
    pub request: String,
    pub expected: String,
    /// What came back.
    pub actual: String,
    pub outcome: ProofOutcome,
    /// Why it is not proven.
    pub reason: Option<String>,
    /// AWS's id of the request, by which its support and its logs find it.
    pub request_id: Option<String>,
    pub time: Timestamp,
}

/// Everything a run found out about a bucket.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    pub bucket: String,
    pub account: String,
    pub region: String,
    pub time: Timestamp,
    pub outcome: ProofOutcome,
    /// The one key that uploads may use.
    pub key_arn: String,
    pub redacted: bool,
    pub proofs: Vec<Proof>,
    /// What the run made and could not remove.
    pub left_behind: Vec<String>,
    /// What went wrong beside the proofs.
    pub error: Option<String>,
}

impl Evidence {
    /// The same without what tells who and where somebody is. Request ids stay: they tell nothing to others.
    pub fn redacted(self) -> Self {
        let proof = |it: Proof| Proof {
            request: redact(&it.request),
            expected: redact(&it.expected),
            actual: redact(&it.actual),
            reason: it.reason.as_deref().map(redact),
            ..it
        };
        Self {
            bucket: redact(&self.bucket),
            account: redact(&self.account),
            key_arn: redact(&self.key_arn),
            proofs: self.proofs.into_iter().map(proof).collect(),
            left_behind: self.left_behind.iter().map(|it| redact(it)).collect(),
            error: self.error.as_deref().map(redact),
            redacted: true,
            ..self
        }
    }

    /// The report that a person attaches to a ticket.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write_markdown(&mut out);
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        let Self { bucket, account, region, time, outcome, key_arn, redacted, proofs, left_behind, error } = self;
        writeln!(out, "# Secure baseline of `{bucket}`: {}\n", label(*outcome))?;
        let count = |outcome| proofs.iter().filter(|it| it.outcome == outcome).count();
        writeln!(
            out,
            "{} checks on the live bucket: {} proven, {} disproven, {} inconclusive, {} skipped.\n",
            proofs.len(),
            count(ProofOutcome::Proven),
            count(ProofOutcome::Disproven),
            count(ProofOutcome::Inconclusive),
            count(ProofOutcome::Skipped),
        )?;
        let test_objects = if left_behind.is_empty() {
            "all removed".to_owned()
        } else {
            format!("{} left behind", left_behind.len())
        };
        writeln!(out, "| | |\n|---|---|")?;
        for (name, value) in [
            ("Bucket", code(bucket)),
            ("Account", code(account)),
            ("Region", code(region)),
            ("Key", code(key_arn)),
            ("Begun", time.strftime("%F %T UTC").to_string()),
            ("Test objects", test_objects),
            ("Redacted", if *redacted { "accounts, keys, addresses, people" } else { "no" }.to_owned()),
        ] {
            writeln!(out, "| {name} | {value} |")?;
        }
        if let Some(error) = error {
            writeln!(out, "\n**Error:** {}", plain(error))?;
        }
        if !left_behind.is_empty() {
            writeln!(out, "\n## Left behind\n")?;
            for it in left_behind {
                writeln!(out, "- {}", plain(it))?;
            }
        }

        writeln!(out, "\n## Summary\n\n| # | Check | Expected | ProofOutcome |\n|---|---|---|---|")?;
        for (number, proof) in (1..).zip(proofs) {
            writeln!(
                out,
                "| {number} | {} | {} | {} |",
                proof.name,
                plain(&proof.expected).replace('|', "\\|"),
                label(proof.outcome)
            )?;
        }
        writeln!(out, "\n## Details")?;
        for (number, proof) in (1..).zip(proofs) {
            let Proof { name, request, expected, actual, outcome, reason, request_id, time } = proof;
            writeln!(out, "\n### {number}. {name}: {}\n", label(*outcome))?;
            writeln!(out, "- Request: {}", plain(request))?;
            writeln!(out, "- Expected: {}", plain(expected))?;
            writeln!(out, "- Actual: {}", plain(actual))?;
            if let Some(reason) = reason {
                writeln!(out, "- Why: {}", plain(reason))?;
            }
            writeln!(out, "- AWS request id: {}", request_id.as_deref().map_or("none".to_owned(), code))?;
            writeln!(out, "- Time: {}", time.strftime("%F %T UTC"))?;
        }
        Ok(())
    }
}

fn label(outcome: ProofOutcome) -> &'static str {
    match outcome {
        ProofOutcome::Proven => "proven",
        ProofOutcome::Disproven => "**DISPROVEN**",
        ProofOutcome::Inconclusive => "**inconclusive**",
        ProofOutcome::Skipped => "skipped",
    }
}

/// One line that is only text: AWS's words quote what strangers chose.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '&' | '!' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace(|c: char| c == '`' || c.is_control(), " "))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn evidence() -> Evidence {
        let time = "2026-11-23T14:22:33Z".parse().unwrap();
        let proof = |name, actual: &str| Proof {
            name,
            request: "PutObject s3-guardrail-verify/20261123T142233Z-1a2b3c4d/x with encryption AES256".to_owned(),
            expected: "denied by the bucket policy".to_owned(),
            actual: actual.to_owned(),
            outcome: ProofOutcome::Proven,
            reason: None,
            request_id: Some("4442587FB7D0A2F9".to_owned()),
            time,
        };
        let refused = "refused: AccessDenied: User: arn:aws:sts::111122223333:assumed-role/s3-guardrail-verify/guardrail-verify is not authorized";
        Evidence {
            bucket: "acme-data".to_owned(),
            account: "111122223333".to_owned(),
            region: "eu-west-2".to_owned(),
            time,
            outcome: ProofOutcome::Disproven,
            key_arn: "arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab".to_owned(),
            redacted: false,
            proofs: vec![
                proof("put-with-aes256", refused),
                Proof {
                    outcome: ProofOutcome::Disproven,
                    reason: Some("it was accepted".to_owned()),
                    ..proof("put-with-wrong-key", "accepted | <b>\n")
                },
                Proof {
                    outcome: ProofOutcome::Skipped,
                    reason: Some("no such rule".to_owned()),
                    request_id: None,
                    ..proof("tls-floor", "not tried")
                },
            ],
            left_behind: Vec::new(),
            error: None,
        }
    }

    #[test]
    fn the_report_says_it_all_and_tells_nothing() {
        expect![[r#"
            # Secure baseline of `acme-data`: **DISPROVEN**

            3 checks on the live bucket: 1 proven, 1 disproven, 0 inconclusive, 1 skipped.

            | | |
            |---|---|
            | Bucket | `acme-data` |
            | Account | `****` |
            | Region | `eu-west-2` |
            | Key | `arn:aws:kms:eu-west-2:****:key/****` |
            | Begun | 2026-11-23 14:22:33 UTC |
            | Test objects | all removed |
            | Redacted | accounts, keys, addresses, people |

            ## Summary

            | # | Check | Expected | ProofOutcome |
            |---|---|---|---|
            | 1 | put-with-aes256 | denied by the bucket policy | proven |
            | 2 | put-with-wrong-key | denied by the bucket policy | **DISPROVEN** |
            | 3 | tls-floor | denied by the bucket policy | skipped |

            ## Details

            ### 1. put-with-aes256: proven

            - Request: PutObject s3-guardrail-verify/20261123T142233Z-1a2b3c4d/x with encryption AES256
            - Expected: denied by the bucket policy
            - Actual: refused: AccessDenied: User: arn:aws:sts::\*\*\*\*:assumed-role/s3-guardrail-verify/\*\*\*\* is not authorized
            - AWS request id: `4442587FB7D0A2F9`
            - Time: 2026-11-23 14:22:33 UTC

            ### 2. put-with-wrong-key: **DISPROVEN**

            - Request: PutObject s3-guardrail-verify/20261123T142233Z-1a2b3c4d/x with encryption AES256
            - Expected: denied by the bucket policy
            - Actual: accepted | \<b\> 
            - Why: it was accepted
            - AWS request id: `4442587FB7D0A2F9`
            - Time: 2026-11-23 14:22:33 UTC

            ### 3. tls-floor: skipped

            - Request: PutObject s3-guardrail-verify/20261123T142233Z-1a2b3c4d/x with encryption AES256
            - Expected: denied by the bucket policy
            - Actual: not tried
            - Why: no such rule
            - AWS request id: none
            - Time: 2026-11-23 14:22:33 UTC
        "#]].assert_eq(&evidence().redacted().markdown());
    }

    #[test]
    fn what_is_left_behind_is_named_first() {
        let left = Evidence {
            left_behind: vec!["s3-guardrail-verify/x/y (version 1)".to_owned()],
            error: Some("the test objects could not all be removed".to_owned()),
            ..evidence()
        };
        let markdown = left.markdown();
        let (before, _) = markdown.split_once("## Summary").unwrap();
        for part in
            ["1 left behind", "s3-guardrail-verify/x/y (version 1)", "**Error:** the test objects", "`111122223333`"]
        {
            assert!(before.contains(part), "{before}");
        }
    }

    #[test]
    fn no_field_escapes_redaction() {
        let secret = "111122223333";
        let proof = Proof {
            request: secret.to_owned(),
            expected: secret.to_owned(),
            actual: secret.to_owned(),
            reason: Some(secret.to_owned()),
            ..evidence().proofs.remove(0)
        };
        let whole = Evidence {
            bucket: secret.to_owned(),
            proofs: vec![proof],
            left_behind: vec![secret.to_owned()],
            error: Some(secret.to_owned()),
            ..evidence()
        };
        let redacted = whole.redacted();
        for text in [serde_json::to_string(&redacted).unwrap(), redacted.markdown()] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
