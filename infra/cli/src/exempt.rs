//! `guardrail exempt`: writes an exemption into a registry document.

use guardrail::store::registry;
use guardrail_core::{
    control::table::Control, decide::permitted::LONGEST, edge::registry::Registration, outcome::exemption::Exemption,
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    Exit,
    args::{ExemptArguments, Leave},
    diff::diff,
    error::CliError,
    history::registered,
    session::Session,
};

pub(crate) async fn run(session: &Session, arguments: ExemptArguments) -> Result<Exit, CliError> {
    let ExemptArguments { bucket, control, leave } = arguments;
    let exemption = exemption(&leave, control, Timestamp::now())?;
    let (ssm, prefix) = (&session.guardrail.ssm, &session.guardrail.config.parameter_prefix);
    let before = registered(session, &bucket).await?;
    let after = with_exemption(&before, exemption);
    let changes = diff(&json!(before), &json!(after), "  ");
    if changes.is_empty() {
        session.print(&format!("{prefix}{bucket}: unchanged, it says so already\n"))?;
        return Ok(Exit::Compliant);
    }
    // SSM has no conditional write: what somebody writes between the read and here is lost.
    registry::write(ssm, prefix, &after).await.map_err(|source| CliError::Parameters { source })?;
    session.print(&format!("{prefix}{bucket}\n{changes}"))?;
    Ok(Exit::Compliant)
}

/// The exemption as the registry would read it.
pub(crate) fn exemption(leave: &Leave, control: Control, now: Timestamp) -> Result<Exemption, CliError> {
    let Leave { until, reason, approved_by } = leave;
    if reason.trim().is_empty() {
        return Err(CliError::NoReason);
    }
    let document = json!({"control": control, "until": until, "reason": reason, "approved_by": approved_by});
    let exemption: Exemption = serde_json::from_value(document).map_err(|error| CliError::Until(error.to_string()))?;
    if exemption.until <= now {
        return Err(CliError::Until(format!("{} is in the past", exemption.until)));
    }
    if now + LONGEST < exemption.until {
        return Err(CliError::Until(format!("{} is more than 90 days away", exemption.until)));
    }
    Ok(exemption)
}

/// The document with the exemption in the place of one that the control has.
pub(crate) fn with_exemption(registration: &Registration, exemption: Exemption) -> Registration {
    let mut exemptions = registration.exemptions.clone();
    exemptions.retain(|it| it.control != exemption.control);
    exemptions.push(exemption);
    Registration { exemptions, ..registration.clone() }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn leave(until: &str) -> Leave {
        Leave { until: until.to_owned(), reason: "migration".to_owned(), approved_by: "ann".to_owned() }
    }

    fn versioning(until: &str, now: Timestamp) -> Result<Exemption, CliError> {
        exemption(&leave(until), Control::Versioning, now)
    }

    #[test]
    fn a_date_lasts_through_its_day_and_the_past_is_refused() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let until = |text: &str| versioning(text, now).map(|it| it.until.to_string());
        assert_eq!(until("2026-11-23").unwrap(), "2026-11-24T00:00:00Z");
        assert_eq!(until("2026-11-23T10:00:01Z").unwrap(), "2026-11-23T10:00:01Z");
        assert_eq!(until("2027-02-21").unwrap(), "2027-02-22T00:00:00Z", "90 days");
        for (text, problem) in [
            ("2026-11-22", "2026-11-23T00:00:00Z is in the past"),
            ("2026-11-23T10:00:00Z", "is in the past"),
            ("2027-02-22", "2027-02-23T00:00:00Z is more than 90 days away"),
            ("soon", "`soon` is not a time"),
            ("2026-11-23T10:00:01", "is not a time"),
        ] {
            let error = until(text).unwrap_err().to_string();
            assert!(error.contains(problem) && error.ends_with("nothing was changed"), "{error}");
        }
    }

    #[test]
    fn an_exemption_without_a_reason_is_refused() {
        for reason in ["", " ", "\t\n"] {
            let leave = Leave { reason: reason.to_owned(), ..leave("2026-12-24") };
            let error = exemption(&leave, Control::Lifecycle, Timestamp::UNIX_EPOCH).unwrap_err().to_string();
            assert!(error.contains("--reason") && error.ends_with("nothing was changed"), "{error}");
        }
    }

    #[test]
    fn an_exemption_takes_the_place_of_the_controls_own() {
        let key = "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap();
        let new = Registration::new("acme-data".parse().unwrap(), "111122223333".parse().unwrap(), key);
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let lifecycle = exemption(&leave("2026-12-24"), Control::Lifecycle, now).unwrap();
        let before = with_exemption(&new, lifecycle);
        let before = with_exemption(&before, versioning("2026-12-24", now).unwrap());
        let after = with_exemption(&before, versioning("2027-01-31", now).unwrap());
        let changes = diff(&json!(before), &json!(after), "");
        expect![[r#"
            ~ exemptions[versioning].until: "2026-12-25T00:00:00Z" -> "2027-02-01T00:00:00Z"
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&changes).to_string());
    }
}
