//! The queues that `guardrail-remediate` takes messages from: who may send to them, and what hands their messages over.

use serde_json::{Value, json};

use crate::{
    decide::rules::{Wiring, rules},
    edge::config::Place,
    value::{
        own_parts::{EVENTS, REMEDIATE, WORK},
        policy::Policy,
    },
};

/// A queue, and who may send to it.
#[derive(Clone, Debug)]
pub struct Queue {
    pub name: &'static str,
    pub arn: String,
    statements: Value,
}

/// What hands messages of a queue over to a function.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The queue's ARN.
    pub source: String,
    /// Whether it does so, or will in a moment.
    pub enabled: bool,
}

/// The queues as infra/foundation.yaml has them.
pub fn queues(parameter_prefix: &str, place: Place<'_>) -> [Queue; 2] {
    let Place { partition, account, region } = place;
    let arn = |name: &str| format!("arn:{partition}:sqs:{region}:{account}:{name}");
    let rules = rules(parameter_prefix, place);
    let senders: Vec<_> = rules.iter().filter(|it| it.function == REMEDIATE).map(|it| it.arn(place)).collect();
    let sweep = format!("arn:{partition}:iam::{account}:role/s3-guardrail-sweep-{region}");
    let send = "sqs:SendMessage";
    let deny = |sid: &str, arn: &str, condition: Value| json!({"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": send, "Resource": arn, "Condition": condition});
    let tls_only = |arn: &str| deny("TlsOnly", arn, json!({"Bool": {"aws:SecureTransport": "false"}}));
    let (events, work) = (arn(EVENTS), arn(WORK));
    let of_events = json!([
        {
            "Sid": "OwnRules", "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": send,
            "Resource": events, "Condition": {"ArnEquals": {"aws:SourceArn": senders}},
        },
        deny("NobodyElse", &events, json!({"ArnNotEquals": {"aws:SourceArn": senders}})),
        tls_only(&events),
    ]);
    let of_work = json!([
        deny("NobodyButTheSweep", &work, json!({"ArnNotEquals": {"aws:PrincipalArn": sweep}})),
        tls_only(&work),
    ]);
    [Queue { name: EVENTS, arn: events, statements: of_events }, Queue { name: WORK, arn: work, statements: of_work }]
}

impl Queue {
    /// Its policy as it should be.
    pub fn policy(&self) -> Value {
        json!({"Version": "2012-10-17", "Statement": self.statements})
    }

    /// What is wrong with its policy.
    pub fn policy_problem(&self, found: Option<&str>) -> Option<String> {
        let wanted = Policy::parse(&self.policy().to_string()).ok();
        let found = found.and_then(|it| Policy::parse(it).ok());
        let same = found.zip(wanted).is_some_and(|(found, wanted)| found.means(&wanted));
        (!same)
            .then(|| "its policy is not ours: whoever may send to it can make up an event, with any actor".to_owned())
    }

    /// What is wrong with how its messages come to `guardrail-remediate`.
    pub fn mapping_problem(&self, mappings: &[Mapping], wiring: Wiring) -> Option<&'static str> {
        let mapped = mappings.iter().any(|it| it.source == self.arn && it.enabled);
        let needed = self.name == WORK || wiring == Wiring::Queued;
        (needed && !mapped).then_some("nothing hands its messages over to guardrail-remediate")
    }
}

/// What `guardrail-remediate` takes messages from that is none of our queues.
pub fn foreign_sources<'a>(mappings: &'a [Mapping], queues: &[Queue]) -> Vec<&'a str> {
    let is_foreign = |it: &&Mapping| !queues.iter().any(|queue| queue.arn == it.source);
    mappings.iter().filter(is_foreign).map(|it| it.source.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { partition: "aws", account: "111122223333", region: "eu-west-2" };

    fn ours() -> [Queue; 2] {
        queues("/s3-guardrail/buckets/", PLACE)
    }

    #[test]
    fn a_queue_takes_messages_of_its_own_senders_alone() {
        let [events, work] = ours();
        for queue in [&events, &work] {
            assert_eq!(queue.policy_problem(Some(&queue.policy().to_string())), None, "{}", queue.name);
            for found in [None, Some(""), Some("{}")] {
                assert!(queue.policy_problem(found).is_some(), "{} {found:?}", queue.name);
            }
            // Each statement is needed, and another is one too many.
            let statements = queue.statements.as_array().unwrap();
            for n in 0..statements.len() {
                let mut without = queue.policy();
                without["Statement"].as_array_mut().unwrap().remove(n);
                assert!(queue.policy_problem(Some(&without.to_string())).is_some(), "{} {n}", queue.name);
            }
            let mut more = queue.policy();
            let theirs =
                json!({"Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": queue.arn});
            more["Statement"].as_array_mut().unwrap().push(theirs);
            assert!(queue.policy_problem(Some(&more.to_string())).is_some(), "{}", queue.name);
        }
        let senders = events.policy()["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"].clone();
        let senders: Vec<_> =
            senders.as_array().unwrap().iter().filter_map(|it| it.as_str()?.rsplit('/').next()).collect();
        assert_eq!(
            senders,
            ["bucket-changed", "key-changed", "trail-changed", "tampered", "beside-tampered", "tampering-denied"]
                .map(|it| format!("s3-guardrail-{it}"))
        );
    }

    #[test]
    fn messages_come_from_both_queues_and_from_no_other() {
        let queues = ours();
        let mapping = |source: &str, enabled| Mapping { source: source.to_owned(), enabled };
        let both: Vec<_> = queues.iter().map(|it| mapping(&it.arn, true)).collect();
        let missing = |mappings: &[Mapping], wiring| {
            let missing = queues.iter().filter(|it| it.mapping_problem(mappings, wiring).is_some());
            missing.map(|it| it.name).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(missing(&both, Wiring::Queued), none);
        assert_eq!(missing(&both[..1], Wiring::Queued), [WORK]);
        assert_eq!(missing(&both[1..], Wiring::Queued), [EVENTS]);
        assert_eq!(missing(&both[1..], Wiring::Direct), none);
        assert_eq!(missing(&[], Wiring::Direct), [WORK]);
        let disabled: Vec<_> = queues.iter().map(|it| mapping(&it.arn, false)).collect();
        assert_eq!(missing(&disabled, Wiring::Queued), [EVENTS, WORK]);
        assert_eq!(foreign_sources(&both, &queues), none);
        let theirs = [both, vec![mapping("arn:aws:sqs:eu-west-2:111122223333:theirs", false)]].concat();
        assert_eq!(foreign_sources(&theirs, &queues), ["arn:aws:sqs:eu-west-2:111122223333:theirs"]);
    }
}
