//! What the parsers make of whatever somebody may send: an answer or an error, soon, and never a panic.

use std::{fs, time::Instant};

use guardrail::input::Input;
use guardrail_core::{control::table::Control, edge::message::Message, outcome::record, value::xml::Element};
use guardrail_tests::{
    local_aws::workspace,
    parsers::{PARSERS, Parser, event, lifecycle, policy, record, registry},
};
use proptest::{collection::vec, prelude::*, sample::select, string::string_regex};
use serde_json::{Value, json};

use crate::arbitrary;

/// The largest input that Lambda hands over.
const LAMBDAS_LIMIT: usize = 6 * 1024 * 1024;

#[test]
fn the_corpus_is_understood_or_refused_as_its_names_say() {
    for (name, parser) in PARSERS {
        let folder = workspace().join("tests/corpus").join(name);
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
        assert!(files.len() > 4, "{name}");
        for file in files {
            let expected = file.file_name().unwrap().to_str().unwrap().starts_with("ok-");
            assert_eq!(parser(&fs::read_to_string(&file).unwrap()), expected, "{}", file.display());
        }
    }
}

/// JSON that is often what one of the parsers looks at.
fn json_value() -> impl Strategy<Value = Value> {
    let word = select(vec![
        "detail",
        "eventName",
        "eventSource",
        "requestParameters",
        "bucketName",
        "resources",
        "ARN",
        "userIdentity",
        "arn",
        "Records",
        "messageId",
        "body",
        "bucket",
        "dry_run",
        "account",
        "key_arn",
        "exemptions",
        "control",
        "until",
        "lifecycle",
        "noncurrent_days",
        "Statement",
        "Sid",
        "Effect",
        "Principal",
        "AWS",
        "Action",
        "Resource",
        "Condition",
        "Bool",
        "aws:SecureTransport",
        "Deny",
        "*",
        "acme-data",
        "s3.amazonaws.com",
        "kms.amazonaws.com",
        "names",
        "111122223333",
        "arn:aws:s3:::acme-data/a",
        "DenyInsecureTransport",
        "observed",
        "desired",
        "outcome",
        "Document",
        "",
    ]);
    let text = prop_oneof![4 => word.clone().prop_map(str::to_owned), 1 => any::<String>()];
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        4 => text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..5).prop_map(Value::from),
            3 => vec((text.clone(), inner), 0..6).prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

/// Text that is nearly XML.
fn nearly_xml() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => select(vec![
            "<LifecycleConfiguration>", "</LifecycleConfiguration>", "<Rule>", "</Rule>", "<ID>", "</ID>", "<Filter/>",
            "<Rule a='>'>", "<Prefix>", "</Prefix>", "<!--", "-->", "<![CDATA[", "]]>", "<?x", "?>", "<!DOCTYPE a [",
            "]>", "&amp;", "&#1;", "&#xD800;", "&x;", "expire-noncurrent-30days", "\"", "'", "<", ">", "&", "=", "/",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let tree = Just("<ID>a &amp; b</ID>".to_owned()).prop_recursive(6, 30, 4, |inner| {
        (string_regex("[A-Za-z:_][A-Za-z0-9.:_-]{0,6}").unwrap(), vec(inner, 0..4))
            .prop_map(|(name, inner)| format!("<{name}>{}</{name}>", inner.concat()))
    });
    prop_oneof![vec(token, 0..20).prop_map(|it| it.concat()), tree]
}

/// A record with these findings.
fn record_of(findings: &[Value]) -> Value {
    json!({
        "schema": "s3-guardrail-record/1", "bucket": "acme-data", "account": "111122223333", "region": "eu-west-2",
        "time": "2026-11-23T09:14:05Z", "elapsed_ms": 700, "drift_to_restored_ms": null, "trigger": null,
        "outcome": "restored", "findings": findings,
    })
}

proptest! {
    #![proptest_config(arbitrary::many())]

    #[test]
    fn any_bytes_are_understood_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        for (_, parser) in PARSERS {
            parser(&text);
        }
    }

    #[test]
    fn any_json_is_understood_or_refused(value in json_value(), detail in any::<bool>()) {
        let value = if detail { json!({"detail": {"eventName": "X", "requestParameters": value, "resources": [value]}}) } else { value };
        let text = value.to_string();
        event(&text);
        registry(&text);
        policy(&text);
        policy(&json!({"Statement": value}).to_string());
        for control in Control::ALL {
            let finding = json!({"control": control, "outcome": "restored", "written": true, "observed": value, "desired": value});
            record(&record_of(&[finding]).to_string());
        }
    }

    #[test]
    fn whatever_is_nearly_xml_is_understood_or_refused(text in nearly_xml()) {
        lifecycle(&text);
    }
}

/// Soon: a parser that takes the square of its input's length would need hours.
#[track_caller]
fn soon(parser: Parser, input: &str) {
    let start = Instant::now();
    parser(input);
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn huge_input_takes_no_longer_than_its_length() {
    let text = "x\\u0001".repeat(LAMBDAS_LIMIT / 7);
    let many = |one: &str| vec![one; LAMBDAS_LIMIT / (one.len() + 1)].join(",");
    for huge in [
        format!(r#"{{"detail":{{"eventName":"{text}","requestParameters":{{"bucketName":"acme-data"}}}}}}"#),
        format!(r#"{{"detail":{{"eventName":"X","requestParameters":{{"bucketName":"{text}"}}}}}}"#),
        format!(
            r#"{{"detail":{{"eventName":"X","eventSource":"kms.amazonaws.com","resources":[{}]}}}}"#,
            many(r#"{"ARN":"a"}"#)
        ),
        format!(r#"{{"detail":{{"eventName":"X","resources":[{}]}}}}"#, many("{}")),
        format!(r#"{{"Records":[{}]}}"#, many(r#"{"messageId":"m"}"#)),
        format!("[{}]", many("[]")),
        "[".repeat(LAMBDAS_LIMIT),
    ] {
        for (_, parser) in PARSERS {
            soon(parser, &huge);
        }
    }
    for huge in [
        format!("<LifecycleConfiguration>{}</LifecycleConfiguration>", "<Rule/>".repeat(LAMBDAS_LIMIT / 7)),
        format!("<a>{}</a>", "&amp;".repeat(LAMBDAS_LIMIT / 5)),
        format!("<a {}/>", "b='c' ".repeat(LAMBDAS_LIMIT / 6)),
        "<a>".repeat(LAMBDAS_LIMIT / 3),
        "<!--".repeat(LAMBDAS_LIMIT / 4),
        "<![CDATA[".repeat(LAMBDAS_LIMIT / 9),
    ] {
        soon(lifecycle, &huge);
    }
}

/// A text that `at` makes of a length, so that the whole has so many bytes.
fn of_length(bytes: usize, at: impl Fn(&str) -> String) -> String {
    let whole = at(&"x".repeat(bytes - at("").len()));
    assert_eq!(whole.len(), bytes);
    whole
}

#[test]
fn each_parser_takes_what_is_at_its_limits_and_refuses_what_is_past_them() {
    let xml = |text: &str| format!("<a>{text}</a>");
    assert!(Element::parse(&of_length(16 * 1024 * 1024, xml)).is_ok());
    assert!(Element::parse(&of_length(16 * 1024 * 1024 + 1, xml)).is_err());
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert!(Element::parse(&nested(32)).is_ok());
    assert!(Element::parse(&nested(33)).is_err());
    let with_empty = |depth: usize| nested(depth).replacen("<a></a>", "<a><b/></a>", 1);
    assert!(Element::parse(&with_empty(31)).is_ok());
    assert!(Element::parse(&with_empty(32)).is_err(), "an empty element is one more level");

    let document = |text: &str| json!({"Statement": [{"Sid": text}]}).to_string();
    assert!(policy(&of_length(128 * 1024, document)));
    assert!(!policy(&of_length(128 * 1024 + 1, document)));
    let nested = |depth: usize| {
        // The document, its list and its statement are three.
        let (open, close) = ("[".repeat(depth - 3), "]".repeat(depth - 3));
        format!(r#"{{"Statement":[{{"Condition":{open}{close}}}]}}"#)
    };
    assert!(policy(&nested(127)));
    assert!(!policy(&nested(128)));

    let mut registration = json!(arbitrary::registration());
    registration["exemptions"] = json!([{"control": "lifecycle", "until": "2027-01-31"}]);
    let document = |text: &str| {
        let mut document = registration.clone();
        document["exemptions"][0]["reason"] = json!(text);
        document.to_string()
    };
    assert!(registry(&of_length(32 * 1024, document)));
    assert!(!registry(&of_length(32 * 1024 + 1, document)));

    let text = |text: &str| {
        let mut record = record_of(&[]);
        record["more"] = json!(text);
        record.to_string()
    };
    assert!(record(&of_length(record::MAX_BYTES, text)));
    assert!(!record(&of_length(record::MAX_BYTES + 1, text)));

    let kept = |characters: usize, names: usize| {
        let names = vec!["x".repeat(characters); names];
        let event = json!({"detail": {"eventName": "X", "eventSource": "ssm.amazonaws.com", "requestParameters": {"names": names}}});
        let Ok(Input::One(Message::Event(event))) = Input::parse(event) else { panic!("an event") };
        let guardrail_core::edge::event::About::Part(names) = event.about else { panic!("names") };
        (names[0].len(), names.len())
    };
    assert_eq!(kept(256, 64), (256, 64));
    assert_eq!(kept(257, 65), (256, 64));
}
