//! `guardrail verify`: what the function of that name does, with the caller's credentials.

use guardrail::work::verify::verify;
use serde_json::{Value, json};

use crate::{Exit, args::VerifyArguments, error::CliError, output, session::Session};

pub(crate) async fn run(session: &Session, arguments: VerifyArguments) -> Result<Exit, CliError> {
    let VerifyArguments { bucket, no_redact, json } = arguments;
    session.reachable(&bucket).await?;
    let mut answer = verify(&session.guardrail, json!({"bucket": bucket, "redact": !no_redact})).await?;
    let markdown = answer.as_object_mut().and_then(|it| it.remove("markdown"));
    if json {
        session.print_json(&answer)?;
    } else {
        session.print(markdown.as_ref().and_then(Value::as_str).unwrap_or_default())?;
    }
    if let Some(error) = answer["error"].as_str() {
        output::complain("error", &format!("{bucket}: {error}"));
    }
    Ok(exit(&answer))
}

/// What is disproven counts, whatever else went wrong; otherwise an error leaves it unknown.
fn exit(answer: &Value) -> Exit {
    match answer["outcome"].as_str() {
        Some("disproven") => Exit::Drift,
        Some("proven") if answer["error"].is_null() => Exit::Compliant,
        _ => Exit::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_proven_and_stored_ends_well() {
        for (answer, expected) in [
            (json!({"outcome": "proven", "error": null}), Exit::Compliant),
            (json!({"outcome": "proven", "error": "the evidence is not stored"}), Exit::Error),
            (json!({"outcome": "disproven", "error": "the evidence is not stored"}), Exit::Drift),
            (json!({"outcome": "inconclusive", "error": null}), Exit::Error),
            (json!({}), Exit::Error),
        ] {
            assert_eq!(exit(&answer), expected, "{answer}");
        }
    }
}
