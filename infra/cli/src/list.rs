//! `guardrail list`: every guarded bucket and its state, from the ledger, or from AWS itself.

mod live;

use std::collections::BTreeMap;

use guardrail::{api, store::ledger};
use guardrail_core::{
    decide::known::{self, Known, Matter, State, subjects},
    edge::registry::{Mode, Registration},
    outcome::{exemption::Exemption, ledger::Item},
    value::{names::BucketName, subject::Subject},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    Exit,
    args::ListArguments,
    diff::{ADDED, CHANGED, REMOVED, painted},
    error::CliError,
    output::complain,
    session::Session,
};

/// A guarded bucket.
#[derive(Debug, Serialize)]
struct Row {
    /// What its parameter is called.
    bucket: String,
    state: State,
    mode: Option<Mode>,
    /// Those in force.
    exemptions: Vec<Exemption>,
    /// Controls that are not as they should be, or why that is not known.
    details: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    ledger: Option<FromLedger>,
}

/// What the ledger has of a bucket.
#[derive(Debug, Serialize)]
struct FromLedger {
    /// `None`: never, as far as it knows.
    looked: Option<Timestamp>,
    open: Vec<Matter>,
}

pub(crate) async fn run(session: &Session, arguments: ListArguments) -> Result<Exit, CliError> {
    let ListArguments { live, json } = arguments;
    let now = Timestamp::now();
    let registered = registered(session).await?;
    let (rows, own) = match live {
        true => (live::rows(session, registered).await, Vec::new()),
        false => rows(session, registered, now).await?,
    };
    let states = rows.iter().map(|it| it.state).chain(own.iter().map(|it| it.state));
    let exit = states.map(exit).max().unwrap_or(Exit::Compliant);
    if json {
        session.print_json(&rows)?;
    } else {
        session.print(&table(&rows, &session.guardrail.config.parameter_prefix, now))?;
    }
    for matter in &own {
        complain("the guardrail itself", &detail(matter, now));
    }
    Ok(exit)
}

/// The registry's documents, by name, a page after the other.
pub(crate) async fn documents(session: &Session) -> Result<Vec<(String, String)>, CliError> {
    let prefix = &session.guardrail.config.parameter_prefix;
    let path = prefix.strip_suffix('/').filter(|it| !it.is_empty()).unwrap_or(prefix);
    let pages = session.guardrail.ssm.get_parameters_by_path().path(path).with_decryption(true);
    let mut pages = pages.into_paginator().send();
    let mut documents = Vec::new();
    while let Some(page) = pages.next().await {
        let page = api::output("GetParametersByPath", page).map_err(|source| CliError::Parameters { source })?;
        for parameter in page.parameters.unwrap_or_default() {
            let name = parameter.name.unwrap_or_default();
            let name = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
            documents.push((name, parameter.value.unwrap_or_default()));
        }
    }
    documents.sort();
    Ok(documents)
}

pub(crate) fn parse(name: &str, document: &str) -> Result<Registration, String> {
    let bucket: BucketName = name.parse().map_err(|error| format!("{error}"))?;
    Registration::parse(document, &bucket).map_err(|error| error.to_string())
}

/// What each parameter below the registry's path is called, and what stands there; or why that is no registration.
type Registered = Vec<(String, Result<Registration, String>)>;

async fn registered(session: &Session) -> Result<Registered, CliError> {
    let parsed = |(name, document): (String, String)| {
        let registration = parse(&name, &document);
        (name, registration)
    };
    Ok(documents(session).await?.into_iter().map(parsed).collect())
}

/// A row a bucket, as the ledger has it, and what is wrong with the guardrail itself.
async fn rows(session: &Session, registered: Registered, now: Timestamp) -> Result<(Vec<Row>, Vec<Matter>), CliError> {
    let valid = registered.iter().filter_map(|(_, it)| it.as_ref().ok());
    let subjects: Vec<_> = valid.flat_map(subjects).chain([Subject::Guardrail]).map(|it| it.to_string()).collect();
    let table = session.ledger.as_str();
    let items = ledger::read(&session.guardrail, table, &subjects).await;
    let items = items.map_err(|source| CliError::Ledger { table: session.ledger.clone(), source })?;
    let items: BTreeMap<_, _> = items.into_iter().map(|(name, it)| (name, Item::read(it.item, now))).collect();
    let row = |(name, registration): (String, Result<Registration, String>)| match registration {
        Err(error) => Row { details: error, ..row(name, None, State::Broken, now) },
        Ok(registration) => {
            let Known { state, looked, matters } = Known::new(&registration, &items, now);
            let details = matters.iter().map(|it| detail(it, now)).collect::<Vec<_>>().join("; ");
            let ledger = Some(FromLedger { looked, open: matters });
            Row { details, ledger, ..row(name, Some(registration), state, now) }
        }
    };
    let own = items.get(&Subject::Guardrail.to_string()).map(known::of_guardrail).unwrap_or_default();
    Ok((registered.into_iter().map(row).collect(), own))
}

fn row(bucket: String, registration: Option<Registration>, state: State, now: Timestamp) -> Row {
    let mode = registration.as_ref().map(|it| it.mode);
    let exemptions = registration.into_iter().flat_map(|it| it.exemptions).filter(|it| now < it.until).collect();
    Row { bucket, state, mode, exemptions, details: String::new(), ledger: None }
}

/// What is not as it should be, since when, and since when people know.
fn detail(Matter { of, about, state, since, told, note }: &Matter, now: Timestamp) -> String {
    let is_said = *state == State::Unknown && note.is_some();
    let mut text = if is_said { String::new() } else { format!("{about} {}", word(*state)) };
    if let Some(note) = note {
        text = if text.is_empty() { note.clone() } else { format!("{text}: {note}") };
    }
    let mut times = Vec::new();
    if let Some(since) = since {
        times.push(format!("since {}", ago(*since, now)));
        times.push(told.map_or("people were not told yet".to_owned(), |it| format!("told {}", ago(it, now))));
    }
    if let Some(of) = of {
        times.push(of.clone());
    }
    if times.is_empty() { text } else { format!("{text} ({})", times.join(", ")) }
}

/// How long ago that was, in whole units.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).max(SignedDuration::ZERO).as_secs();
    match seconds {
        0..60 => "just now".to_owned(),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Compliant => "compliant",
        State::Exempt => "exempt",
        State::Observe => "observe",
        State::Drifted => "drifted",
        State::Endangered => "endangered",
        State::Fight => "fight",
        State::Unknown => "unknown",
        State::Failed => "failed",
        State::Unreadable => "unreadable",
        State::Gone => "gone",
        State::Broken => "broken",
    }
}

fn exit(state: State) -> Exit {
    match state {
        State::Compliant | State::Exempt => Exit::Compliant,
        State::Observe | State::Drifted | State::Endangered | State::Fight => Exit::Drift,
        State::Unknown | State::Failed | State::Unreadable | State::Gone | State::Broken => Exit::Error,
    }
}

fn table(rows: &[Row], prefix: &str, now: Timestamp) -> String {
    if rows.is_empty() {
        return format!(
            "No bucket is registered under {prefix}; `guardrail bootstrap BUCKET` builds and registers one.\n"
        );
    }
    let width = rows.iter().map(|it| it.bucket.len()).max().unwrap_or_default().max("BUCKET".len());
    let has_ages = rows.iter().any(|it| it.ledger.is_some());
    let age = |text: &str| if has_ages { format!("{text:11}  ") } else { String::new() };
    let mut text = format!("{:width$}  {:10}  {:7}  {}DETAILS\n", "BUCKET", "STATE", "MODE", age("LOOKED"));
    for row in rows {
        let style = match exit(row.state) {
            Exit::Compliant => ADDED,
            Exit::Drift => CHANGED,
            Exit::Error => REMOVED,
        };
        let mode = match row.mode {
            Some(Mode::Enforce) => "enforce",
            Some(Mode::Observe) => "observe",
            None => "-",
        };
        let looked = row.ledger.as_ref().map(|it| it.looked.map_or("never".to_owned(), |it| ago(it, now)));
        let looked = age(looked.as_deref().unwrap_or("-"));
        let exemptions = row.exemptions.iter().map(|it| format!("{} exempt until {}", it.control, it.until));
        let details = Some(row.details.clone()).filter(|it| !it.is_empty()).into_iter().chain(exemptions);
        let details = details.collect::<Vec<_>>().join("; ");
        let state = painted(style, &format!("{:10}", word(row.state)));
        text.push_str(format!("{:width$}  {state}  {mode:7}  {looked}{details}", row.bucket).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use guardrail_core::control::table::Control;
    use guardrail_tests::fake::{BUCKET, FakeAws, FaultKind, KEY};
    use serde_json::{Value, json};

    use super::*;
    use crate::faults::session;

    #[test]
    fn a_broken_document_says_what_is_wrong() {
        assert!(parse("acme-data", "{}").unwrap_err().contains("missing field `bucket`"));
        assert!(parse("a/b", "{}").unwrap_err().contains("`a/b` is not a bucket name"));
    }

    #[track_caller]
    fn check(rows: &[Row], now: Timestamp, expected: Expect) {
        expected.assert_eq(&anstream::adapter::strip_str(&table(rows, "/p/", now)).to_string());
    }

    #[test]
    fn the_table_has_a_line_per_bucket() {
        let row = |bucket: &str, state, mode, details: &str| Row {
            bucket: bucket.to_owned(),
            state,
            mode,
            exemptions: Vec::new(),
            details: details.to_owned(),
            ledger: None,
        };
        let exemption = Exemption {
            control: Control::Lifecycle,
            until: "2027-02-01T00:00:00Z".parse().unwrap(),
            reason: String::new(),
            approved_by: String::new(),
        };
        let now = Timestamp::UNIX_EPOCH;
        let rows = [
            row("acme-data", State::Compliant, Some(Mode::Enforce), ""),
            Row { exemptions: vec![exemption], ..row("logs", State::Drifted, Some(Mode::Observe), "versioning") },
            row("x", State::Broken, None, "mode: unknown variant"),
        ];
        check(
            &rows,
            now,
            expect![[r#"
                BUCKET     STATE       MODE     DETAILS
                acme-data  compliant   enforce
                logs       drifted     observe  versioning; lifecycle exempt until 2027-02-01T00:00:00Z
                x          broken      -        mode: unknown variant
            "#]],
        );
        assert!(table(&[], "/p/", now).contains("No bucket is registered under /p/"));
    }

    #[test]
    fn an_age_is_told_in_units_of_its_size() {
        let ago = |seconds| self::ago(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).unwrap());
        let ages = [-9, 59, 60, 3_599, 3_600, 172_799, 172_800].map(ago);
        assert_eq!(ages, ["just now", "just now", "1 min ago", "59 min ago", "1 h ago", "47 h ago", "2 days ago"]);
    }

    /// A guarded bucket beside one that nobody has looked at and one whose document is broken.
    async fn some() -> FakeAws {
        let fake = FakeAws::compliant().await;
        let mut state = fake.state();
        state.ledger = Some([].into());
        let other = json!({"bucket": "other-data", "account": "111122223333", "key_arn": KEY}).to_string();
        state.parameters.insert("/s3-guardrail/buckets/other-data".to_owned(), other);
        state.parameters.insert("/s3-guardrail/buckets/x-data".to_owned(), "{".to_owned());
        drop(state);
        fake
    }

    async fn listed(fake: &FakeAws, later: SignedDuration) -> (Vec<Row>, Timestamp) {
        let session = session(fake);
        let registered = registered(&session).await.unwrap();
        let now = Timestamp::now() + later;
        (rows(&session, registered, now).await.unwrap().0, now)
    }

    async fn sweep(fake: &FakeAws) {
        let message = |body: Value| json!({"messageId": body.to_string(), "body": body.to_string()});
        let batch = [json!({"bucket": BUCKET}), json!({"key": KEY})].map(message);
        fake.remediate(json!({ "Records": batch })).await.unwrap();
    }

    #[tokio::test]
    async fn what_the_looks_wrote_down_is_shown_with_its_age() {
        let fake = some().await;
        let exemption = json!([{"control": "lifecycle", "until": "2999-01-01"}]);
        fake.register(json!({"exemptions": exemption}));
        fake.set("lifecycle", None);
        fake.set("versioning", None);
        fake.fail("PutBucketVersioning", 1, FaultKind::Answer(403, "AccessDenied"));
        sweep(&fake).await;
        fake.forget();
        let (rows, now) = listed(&fake, SignedDuration::from_mins(185)).await;
        check(
            &rows,
            now,
            expect![[r#"
                BUCKET      STATE       MODE     LOOKED       DETAILS
                acme-data   failed      enforce  3 h ago      lifecycle exempt (since 3 h ago, told 3 h ago); versioning failed (since 3 h ago, told 3 h ago); lifecycle exempt until 2999-01-02T00:00:00Z
                other-data  unknown     enforce  never        never looked at
                x-data      broken      -        -            the registry document of x-data is not valid: EOF while parsing an object at line 1 column 1; until it is mended the bucket is not guarded
            "#]],
        );
        assert_eq!(fake.state().calls, ["GetParametersByPath", "BatchGetItem"], "nothing of the buckets is read");
        sweep(&fake).await;
        let (rows, _) = listed(&fake, SignedDuration::ZERO).await;
        assert_eq!((rows[0].state, exit(rows[0].state)), (State::Exempt, Exit::Compliant), "{rows:?}");
    }

    #[tokio::test]
    async fn what_is_broken_of_the_guardrail_itself_is_no_good_list() {
        let fake = FakeAws::compliant().await;
        fake.state().ledger = Some([].into());
        sweep(&fake).await;
        let list = async || run(&session(&fake), ListArguments { live: false, json: false }).await.unwrap();
        assert_eq!(list().await, Exit::Compliant);
        // Nothing is deployed.
        guardrail::work::sweep::sweep(&fake.guardrail(), json!({})).await.unwrap();
        let registered = registered(&session(&fake)).await.unwrap();
        let own = rows(&session(&fake), registered, Timestamp::now()).await.unwrap().1;
        let part = own.iter().find(|it| it.about == "the account's trails").unwrap();
        assert!(part.state == State::Failed && part.told.is_some() && part.note.is_some(), "{own:?}");
        assert_eq!(list().await, Exit::Error);
        let cut =
            json!({"subject": {"S": "guardrail"}, "version": {"N": "1"}, "meaning": {"N": "1"}, "open": {"S": "x"}});
        fake.state().ledger.as_mut().unwrap().insert("guardrail".to_owned(), cut);
        assert_eq!(list().await, Exit::Error, "what cannot be used says nothing");
    }

    #[tokio::test]
    async fn for_machines_it_is_the_same() {
        let fake = some().await;
        fake.register(json!({"mode": "observe"}));
        fake.set("versioning", None);
        sweep(&fake).await;
        let (rows, _) = listed(&fake, SignedDuration::ZERO).await;
        let rows = json!(rows);
        let looked = |it: &Value| it["looked"].as_str().is_some_and(|it| it.parse::<Timestamp>().is_ok());
        assert!(looked(&rows[0]) && rows[1]["looked"].is_null() && rows[2].get("looked").is_none(), "{rows}");
        let open = &rows[0]["open"][0];
        assert_eq!((&rows[0]["state"], &rows[0]["mode"]), (&json!("observe"), &json!("observe")));
        assert_eq!((&open["about"], &open["state"]), (&json!("versioning"), &json!("observe")), "{rows}");
        assert!(open["since"].is_string() && open["told"].is_string(), "{rows}");
        assert_eq!((&rows[1]["state"], &rows[2]["state"]), (&json!("unknown"), &json!("broken")));
    }

    #[tokio::test]
    async fn without_a_ledger_it_says_how_to_go_on() {
        let fake = some().await;
        fake.state().ledger = None;
        let list = async |live| run(&session(&fake), ListArguments { live, json: false }).await;
        let error = list(false).await.unwrap_err().to_string();
        for part in ["s3-guardrail-ledger could not be read", "ResourceNotFoundException", "`guardrail list --live`"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(list(true).await.unwrap(), Exit::Error, "a document is broken");
        fake.state().parameters.retain(|name, _| name.ends_with(BUCKET));
        assert_eq!(list(true).await.unwrap(), Exit::Compliant);
    }
}
