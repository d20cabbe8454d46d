//! Masking what published evidence must not tell: accounts, keys, addresses, people. Pure.
//!
//! Every pattern is looked for in the whole text, and only then is anything replaced: so no match can hide another.
//! When in doubt more is masked, not less.

use std::net::Ipv6Addr;

const MASK: &str = "****";

/// The text with everything masked that says who or where somebody is.
///
/// Masked are account ids (any run of 12 digits and more), UUIDs and multi-region key ids, access key ids and IAM's
/// unique ids, IP addresses, and in ARNs the names of users and of role sessions.
pub fn redact(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut secret = vec![false; bytes.len()];
    for at in 0..bytes.len() {
        let rest = &bytes[at..];
        let fresh = |class: fn(&u8) -> bool| at == 0 || !class(&bytes[at - 1]);
        let longest = [
            account_id(rest),
            uuid(rest),
            multi_region_key_id(rest),
            unique_id(rest),
            if fresh(u8::is_ascii_digit) { ipv4(rest) } else { 0 },
            if fresh(is_ipv6) { ipv6(rest) } else { 0 },
        ];
        mark(&mut secret, at, longest.into_iter().max().unwrap_or(0));
        let (before, name) = arn_name(rest);
        mark(&mut secret, at + before, name);
    }
    masked(text, &secret)
}

/// The same, and each of these names masked, too.
pub fn redact_names(text: &str, names: &[&str]) -> String {
    let mut secret = vec![false; text.len()];
    for name in names.iter().filter(|it| !it.is_empty()) {
        for (at, _) in text.match_indices(name) {
            mark(&mut secret, at, name.len());
        }
    }
    redact(&masked(text, &secret))
}

fn mark(secret: &mut [bool], from: usize, length: usize) {
    secret.iter_mut().skip(from).take(length).for_each(|it| *it = true);
}

/// Each run of secret characters becomes one mask. All patterns are ASCII, so characters are never cut.
fn masked(text: &str, secret: &[bool]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut masking = false;
    for (at, c) in text.char_indices() {
        match (secret[at], masking) {
            (true, false) => out.push_str(MASK),
            (true, true) => {}
            (false, _) => out.push(c),
        }
        masking = secret[at];
    }
    out
}

/// How many bytes at the beginning of `text` are of a kind.
fn run(text: &[u8], class: impl Fn(&u8) -> bool) -> usize {
    text.iter().take_while(|it| class(it)).count()
}

/// The length, if it is at least `least`; else 0, which is no match.
fn at_least(least: usize, length: usize) -> usize {
    if length >= least { length } else { 0 }
}

fn account_id(text: &[u8]) -> usize {
    at_least(12, run(text, u8::is_ascii_digit))
}

/// 8-4-4-4-12 hexadecimal digits: the id of a key, among others.
fn uuid(text: &[u8]) -> usize {
    const LENGTH: usize = 36;
    let dashes = [8, 13, 18, 23];
    let fits = |(at, byte): (usize, &u8)| if dashes.contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() };
    if text.len() >= LENGTH && text.iter().take(LENGTH).enumerate().all(fits) { LENGTH } else { 0 }
}

/// <https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id-key-id>
fn multi_region_key_id(text: &[u8]) -> usize {
    let Some(rest) = text.strip_prefix(b"mrk-") else { return 0 };
    match run(rest, u8::is_ascii_hexdigit) {
        digits @ 32.. => 4 + digits,
        _ => 0,
    }
}

/// Access keys and the ids of users and roles.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>
fn unique_id(text: &[u8]) -> usize {
    let known = ["AKIA", "ASIA", "AIDA", "AROA"].iter().any(|it| text.starts_with(it.as_bytes()));
    if known { at_least(16, run(text, |it| it.is_ascii_uppercase() || it.is_ascii_digit())) } else { 0 }
}

fn ipv4(text: &[u8]) -> usize {
    let mut length = 0;
    for part in 0..4 {
        if part > 0 {
            if text.get(length) != Some(&b'.') {
                return 0;
            }
            length += 1;
        }
        match run(&text[length..], u8::is_ascii_digit) {
            digits @ 1..=3 => length += digits,
            _ => return 0,
        }
    }
    length
}

fn is_ipv6(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b':' || *byte == b'.'
}

fn ipv6(text: &[u8]) -> usize {
    let token = &text[..run(text, is_ipv6)];
    let token = token.strip_suffix(b".").or(token.strip_suffix(b":")).unwrap_or(token);
    let address = std::str::from_utf8(token).ok().filter(|it| it.len() > 2 && it.parse::<Ipv6Addr>().is_ok());
    address.map_or(0, str::len)
}

/// Where a user's or a session's name is, when `text` begins with the resource of an ARN: bytes before it, its length.
fn arn_name(text: &[u8]) -> (usize, usize) {
    let is_path = |it: &u8| it.is_ascii_alphanumeric() || b"+=,.@_-/".contains(it);
    for kind in [":user/", ":federated-user/"] {
        if text.starts_with(kind.as_bytes()) {
            return (kind.len(), run(&text[kind.len()..], is_path));
        }
    }
    let role = b":assumed-role/";
    if text.starts_with(role) {
        let before = role.len() + run(&text[role.len()..], |it| is_path(it) && *it != b'/');
        if text.get(before) == Some(&b'/') {
            return (before + 1, run(&text[before + 1..], is_path));
        }
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_tells_who_and_where_is_masked_and_nothing_else() {
        for (text, masked) in [
            (
                "arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
                "arn:aws:kms:eu-west-2:****:key/****",
            ),
            (
                "arn:aws:kms:eu-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab,",
                "arn:aws:kms:eu-west-2:****:key/****,",
            ),
            ("arn:aws:kms:eu-west-2:111122223333:alias/aws/s3", "arn:aws:kms:eu-west-2:****:alias/aws/s3"),
            (
                "User: arn:aws:sts::111122223333:assumed-role/deploy/ann@example.com is",
                "User: arn:aws:sts::****:assumed-role/deploy/**** is",
            ),
            ("\"arn:aws:iam::111122223333:user/teams/ann\"", "\"arn:aws:iam::****:user/****\""),
            ("arn:aws:iam::111122223333:role/deploy", "arn:aws:iam::****:role/deploy"),
            ("with AKIAIOSFODNN7EXAMPLE.", "with ****."),
            ("from 203.0.113.7, 2001:db8::1 and [::1]", "from ****, **** and [****]"),
            ("acme-data-2026, acme-111122223333-logs", "acme-data-2026, acme-****-logs"),
            ("2026-11-23T14:22:33Z 20261123T142233Z-1a2b3c4d", "2026-11-23T14:22:33Z 20261123T142233Z-1a2b3c4d"),
            ("arn:aws:s3:::acme-data/a::b, TLS 1.2, é", "arn:aws:s3:::acme-data/****, TLS 1.2, é"),
        ] {
            assert_eq!(redact(text), masked);
            assert_eq!(redact(masked), masked, "masked once is masked");
        }
    }

    #[test]
    fn names_are_masked_beside_everything_else() {
        let text = "acme and acme-data in 111122223333, é";
        assert_eq!(redact_names(text, &["acme-data", "acme", ""]), "**** and **** in ****, é");
        assert_eq!(redact_names("é", &["é"]), "****");
    }

    proptest! {
        #[test]
        fn no_secret_survives_in_any_text(
            before in ".*",
            secret in "[0-9]{12}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32}|(AKIA|ASIA)[A-Z2-7]{16}",
            after in ".*",
            // Neighbours that look like a part of it are the hard case.
            left in "[0-9A-Fa-f:./-]{0,20}",
            right in "[0-9A-Fa-f:./-]{0,20}",
        ) {
            let redacted = redact(&format!("{before}{left}{secret}{right}{after}"));
            prop_assert!(!redacted.contains(&secret), "{redacted}");
        }

        #[test]
        fn no_run_of_12_digits_is_left(text in "[0-9a-fAKISD:./ -]{0,80}") {
            let once = redact(&text);
            prop_assert!(once.as_bytes().windows(12).all(|it| !it.iter().all(u8::is_ascii_digit)), "{once}");
        }
    }

    #[test]
    fn what_only_looks_like_a_secret_stays_and_each_kind_goes_to_its_last_letter() {
        for (text, masked) in [
            ("203.0.113.7 x", "**** x"),
            ("v1203.0.113.7", "v1203.0.113.7"),
            ("1.2.3", "1.2.3"),
            ("1.2.3.4444", "1.2.3.4444"),
            ("1,2,3,4", "1,2,3,4"),
            ("a :: b", "a :: b"),
            ("a ::. b", "a ::. b"),
            ("::1", "****"),
            ("2001:db8::1.", "****."),
            ("2001:db8::1:", "****:"),
            ("x2001:db8::1", "x2001:db8::1"),
            ("11112222333", "11112222333"),
            ("1111222233334", "****"),
            ("AKIA2222222222222", "****"),
            ("AKIA22222222222", "AKIA22222222222"),
            ("ASIAAAAAAAAAAAAA", "****"),
            ("AROAAAAAAAAAAAAA:x", "****:x"),
            ("1234abcd-12ab-34cd-56ef-1234567890ag", "1234abcd-12ab-34cd-56ef-1234567890ag"),
            ("1234abcd012ab-34cd-56ef-1234567890ab", "1234abcd012ab-34cd-56ef-1234567890ab"),
            ("mrk-1234abcd12ab34cd56ef1234567890a", "mrk-1234abcd12ab34cd56ef1234567890a"),
            ("mrk-1234abcd12ab34cd56ef1234567890ab0", "****"),
            ("arn:aws:sts::x:federated-user/ann is", "arn:aws:sts::x:federated-user/**** is"),
            ("arn:aws:sts::x:assumed-role/deploy", "arn:aws:sts::x:assumed-role/deploy"),
            ("arn:aws:sts::x:assumed-role/deploy is", "arn:aws:sts::x:assumed-role/deploy is"),
            ("arn:aws:sts::x:assumed-role/a/b!", "arn:aws:sts::x:assumed-role/a/****!"),
        ] {
            assert_eq!(redact(text), masked, "{text}");
        }
    }
}
