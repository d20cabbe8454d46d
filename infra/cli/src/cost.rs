//! `guardrail cost`: what the guardrail would cost a month. An estimate, and pure; explained in COSTS.md.

use clap::Args;
use guardrail_core::control::table::Control;
use serde::Serialize;
use serde_json::json;

use crate::{Exit, error::CliError, output};

/// What is to be guarded.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Usage {
    /// Guarded buckets
    #[arg(long, value_name = "N", default_value_t = 1)]
    buckets: u64,
    /// Objects in all of them, every version counted
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    objects: u64,
    /// Calls about objects (GET, PUT, …) in all of them
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    requests_per_month: u64,
    /// Calls that change a bucket's settings; each is taken to need a restore
    #[arg(long, value_name = "N", default_value_t = 100)]
    events_per_month: u64,
    /// How often the schedule looks at every bucket; every 15 minutes is 2920, 0 is never
    #[arg(long, value_name = "N", default_value_t = 2920)]
    sweeps_per_month: u64,
    /// Gigabytes that are overwritten or deleted: versioning keeps them for 30 days more
    #[arg(long, value_name = "N", default_value_t = 0)]
    replaced_gb_per_month: u64,
    /// KMS keys
    #[arg(long, value_name = "N", default_value_t = 1)]
    keys: u64,
    /// Trails that log management events, those of others included; only the first is free
    #[arg(long, value_name = "N", default_value_t = 1)]
    trails: u64,
    /// Management write events of the account
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    management_events_per_month: u64,
}

/// What something costs in us-east-1, without free tiers and discounts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Price {
    pub(crate) item: &'static str,
    pub(crate) dollars: f64,
    pub(crate) per: u64,
    pub(crate) unit: &'static str,
    /// Where it was read.
    pub(crate) source: &'static str,
    /// How old what was read is.
    pub(crate) dated: &'static str,
    /// Whether AWS itself says so there.
    pub(crate) verified: bool,
}

const COPY: &str = "read 2026-11-23 in a copy from before 2021";

/// Every price, once. COSTS.md has the same table, and a test holds it to this one.
pub(crate) const PRICES: [Price; 18] = [
    Price {
        item: "KMS key",
        dollars: 1.0,
        per: 1,
        unit: "key-months",
        source: "https://aws.amazon.com/kms/pricing/",
        dated: "read 2026-11-23 in a copy of 2019",
        verified: true,
    },
    Price {
        item: "KMS requests",
        dollars: 0.03,
        per: 10_000,
        unit: "requests",
        source: "https://cloudburn.io/blog/aws-kms-pricing",
        dated: "2026-03-14",
        verified: false,
    },
    Price {
        item: "CloudTrail data events",
        dollars: 0.10,
        per: 100_000,
        unit: "events",
        source: "https://aws.amazon.com/cloudtrail/pricing/",
        dated: COPY,
        verified: true,
    },
    Price {
        item: "CloudTrail management events, further copies",
        dollars: 2.0,
        per: 100_000,
        unit: "events",
        source: "https://aws.amazon.com/cloudtrail/pricing/",
        dated: COPY,
        verified: true,
    },
    Price {
        item: "S3 storage",
        dollars: 0.023,
        per: 1,
        unit: "GB-months",
        source: "https://aws.amazon.com/s3/pricing/",
        dated: "not read",
        verified: false,
    },
    Price {
        item: "S3 Inventory",
        dollars: 0.0025,
        per: 1_000_000,
        unit: "objects listed",
        source: "https://aws.amazon.com/s3/pricing/",
        dated: "not read",
        verified: false,
    },
    Price {
        item: "S3 configuration reads",
        dollars: 0.0004,
        per: 1_000,
        unit: "requests",
        source: "https://c3x.dev/blog/s3-request-fees-explained",
        dated: "read 2026-11-23, undated",
        verified: false,
    },
    Price {
        item: "Lambda requests",
        dollars: 0.20,
        per: 1_000_000,
        unit: "requests",
        source: "https://aws.amazon.com/lambda/pricing/",
        dated: COPY,
        verified: true,
    },
    Price {
        item: "Lambda duration (x86)",
        dollars: 0.000_016_67,
        per: 1,
        unit: "GB-seconds",
        source: "https://aws.amazon.com/lambda/pricing/",
        dated: COPY,
        verified: true,
    },
    Price {
        item: "CloudWatch metrics",
        dollars: 0.30,
        per: 730,
        unit: "metric-hours",
        source: "https://signoz.io/guides/cloudwatch-pricing",
        dated: "2026-02-15",
        verified: false,
    },
    Price {
        item: "CloudWatch Logs",
        dollars: 0.50,
        per: 1,
        unit: "GB",
        source: "https://www.factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards/",
        dated: "2026-06-13",
        verified: false,
    },
    Price {
        item: "SNS e-mails",
        dollars: 2.0,
        per: 100_000,
        unit: "e-mails",
        source: "https://www.factualminds.com/blog/amazon-sns-pricing-publishes-fanout-protocols/",
        dated: "2026-06-13",
        verified: false,
    },
    Price {
        item: "SQS requests",
        dollars: 0.40,
        per: 1_000_000,
        unit: "requests",
        source: "https://cloudburn.io/blog/amazon-sqs-pricing",
        dated: "2026-03-14",
        verified: false,
    },
    Price {
        item: "EventBridge, events of AWS",
        dollars: 0.0,
        per: 1_000_000,
        unit: "events",
        source: "https://cloudburn.io/blog/amazon-eventbridge-pricing",
        dated: "2026-03-13",
        verified: false,
    },
    Price {
        item: "DynamoDB reads",
        dollars: 0.125,
        per: 1_000_000,
        unit: "read units",
        source: "https://airbyte.com/data-engineering-resources/dynamodb-pricing",
        dated: "2025-07-21",
        verified: false,
    },
    Price {
        item: "DynamoDB writes",
        dollars: 0.625,
        per: 1_000_000,
        unit: "write units",
        source: "https://airbyte.com/data-engineering-resources/dynamodb-pricing",
        dated: "2025-07-21",
        verified: false,
    },
    Price {
        item: "DynamoDB storage",
        dollars: 0.25,
        per: 1,
        unit: "GB-months",
        source: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
        dated: "not read",
        verified: false,
    },
    Price {
        item: "DynamoDB point-in-time recovery",
        dollars: 0.2,
        per: 1,
        unit: "GB-months",
        source: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
        dated: "not read",
        verified: false,
    },
];

/// With Bucket Keys, S3 asks KMS for a fraction of the objects; AWS says of up to 99 % less.
const KMS_SHARE: f64 = 0.01;
/// A data event in a compressed log file. Guessed.
const GB_PER_EVENT: f64 = 200e-9;
/// An invocation: 256 MB for half a second. It takes less when warm.
const GB_SECONDS: f64 = 0.125;
/// What an invocation logs, metrics included. Guessed.
const GB_LOGGED: f64 = 2e-6;
/// Lambda polls each of two queues with five long polls of 20 seconds.
const EMPTY_RECEIVES: f64 = 2.0 * 5.0 * 3.0 * 60.0 * 730.0;
const HOURS: f64 = 730.0;
const DAYS: f64 = 30.0;
/// An item of the ledger, in KB; what a look of the last hour restored fills it.
const ITEM_KB: f64 = 3.0;
/// A read of up to 4 KB is a unit, and so is each KB that is written.
/// <https://aws.amazon.com/dynamodb/pricing/on-demand/>
const READ_UNITS_A_LOOK: f64 = 1.0;
/// That it is about to write, what it came to, and that people know.
const WRITES_A_RESTORE: f64 = 3.0;

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    price: Price,
    quantity: f64,
    dollars_a_month: f64,
}

pub(crate) fn run(usage: &Usage, json: bool) -> Result<Exit, CliError> {
    let lines = estimate(usage);
    if json {
        let total = total(&lines);
        let answer =
            json!({"currency": "USD", "region": "us-east-1", "usage": usage, "lines": lines, "dollars_a_month": total});
        output::print(&output::json(&answer)?)?;
    } else {
        output::print(&table(&lines))?;
    }
    Ok(Exit::Compliant)
}

/// A line for every price.
fn estimate(usage: &Usage) -> Vec<Line> {
    let Usage {
        buckets,
        objects,
        requests_per_month,
        events_per_month,
        sweeps_per_month,
        replaced_gb_per_month,
        keys,
        trails,
        management_events_per_month,
    } = *usage;
    let [objects, requests, events, sweeps] =
        [objects, requests_per_month, events_per_month, sweeps_per_month].map(|it| it as f64);
    // A key and a trail are looked at once for all their buckets.
    let subjects = (buckets + keys + trails) as f64;
    // Every restore comes back as an event.
    let bucket_looks = 2.0 * events + sweeps * buckets as f64;
    let looks = 2.0 * events + sweeps * subjects;
    // One that finds nothing new is written down once a day. The guardrail's own parts have an item, too.
    let writes = WRITES_A_RESTORE * events + (subjects + 1.0) * sweeps.min(DAYS);
    let gb_of_items = if looks > 0.0 { subjects * ITEM_KB / 1e6 } else { 0.0 };
    // Its alias is asked for beside it.
    let reads_of_key = (Control::KmsKey.vocabulary().reads().count() + 1) as f64;
    let reads = Control::OF_BUCKET.iter().map(|it| it.vocabulary().reads().count()).sum::<usize>() as f64;
    // Reconciles and Gone whenever it looks; four more in an hour with a restore.
    let metric_hours = 2.0 * (2.0 * events + sweeps).min(HOURS) + 4.0 * events.min(HOURS);
    let quantities = [
        keys as f64,
        requests * KMS_SHARE + sweeps * keys as f64 * reads_of_key,
        requests,
        trails.saturating_sub(1) as f64 * management_events_per_month as f64,
        requests * GB_PER_EVENT + replaced_gb_per_month as f64,
        objects * 30.0,
        bucket_looks * reads,
        looks + sweeps,
        (looks + sweeps) * GB_SECONDS,
        metric_hours,
        (looks + sweeps) * GB_LOGGED,
        events,
        if sweeps > 0.0 { 3.0 * looks + EMPTY_RECEIVES } else { 0.0 },
        2.0 * events,
        (looks + sweeps) * READ_UNITS_A_LOOK,
        writes * ITEM_KB,
        gb_of_items,
        gb_of_items,
    ];
    PRICES
        .into_iter()
        .zip(quantities)
        .map(|(price, quantity)| Line { price, quantity, dollars_a_month: quantity / price.per as f64 * price.dollars })
        .collect()
}

fn total(lines: &[Line]) -> f64 {
    lines.iter().map(|it| it.dollars_a_month).sum()
}

fn table(lines: &[Line]) -> String {
    let mut text = format!("{:44}  {:>16}  {:14}  {:>10}\n", "WHAT", "A MONTH", "", "DOLLARS");
    for Line { price, quantity, dollars_a_month } in lines {
        let mark = if price.verified { "" } else { " ?" };
        let digits = if *quantity >= 100.0 || quantity.fract() == 0.0 { 0 } else { 3 };
        text.push_str(&format!(
            "{:44}  {quantity:>16.digits$}  {:14}  {dollars_a_month:>10.2}{mark}\n",
            price.item, price.unit
        ));
    }
    let total = total(lines);
    text.push_str(&format!("{:44}  {:>16}  {:14}  {total:>10.2}\n", "Total, us-east-1, without free tiers", "", ""));
    text.push_str("?: a price that was not read in AWS's own words. COSTS.md says where each is from.\n");
    text
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use clap::Parser;
    use expect_test::expect;
    use guardrail_tests::{
        fake::{BUCKET, FakeAws, ROLE},
        simulation::{History, Options, Simulator},
    };
    use serde_json::Value;

    use super::*;
    use crate::args::{Arguments, Command};

    fn usage(more: &str) -> Usage {
        let line = format!("guardrail cost {more}");
        let Command::Cost { usage, .. } = Arguments::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!()
        };
        usage
    }

    #[test]
    fn one_bucket_costs_some_dollars() {
        expect![[r#"
            WHAT                                                   A MONTH                     DOLLARS
            KMS key                                                      1  key-months            1.00
            KMS requests                                            111680  requests              0.34 ?
            CloudTrail data events                                10000000  events               10.00
            CloudTrail management events, further copies                 0  events                0.00
            S3 storage                                                   2  GB-months             0.05 ?
            S3 Inventory                                          30000000  objects listed        0.07 ?
            S3 configuration reads                                   24960  requests              0.01 ?
            Lambda requests                                          11880  requests              0.00
            Lambda duration (x86)                                     1485  GB-seconds            0.02
            CloudWatch metrics                                        1860  metric-hours          0.76 ?
            CloudWatch Logs                                          0.024  GB                    0.01 ?
            SNS e-mails                                                100  e-mails               0.00 ?
            SQS requests                                           1340880  requests              0.54 ?
            EventBridge, events of AWS                                 200  events                0.00 ?
            DynamoDB reads                                           11880  read units            0.00 ?
            DynamoDB writes                                           1260  write units           0.00 ?
            DynamoDB storage                                         0.000  GB-months             0.00 ?
            DynamoDB point-in-time recovery                          0.000  GB-months             0.00 ?
            Total, us-east-1, without free tiers                                                 12.81
            ?: a price that was not read in AWS's own words. COSTS.md says where each is from.
        "#]]
        .assert_eq(&table(&estimate(&usage(""))));
    }

    #[test]
    fn each_input_moves_its_own_lines() {
        let dollars = |more: &str| estimate(&usage(more)).iter().map(|it| it.dollars_a_month).collect::<Vec<_>>();
        let base = dollars("");
        for (more, moved) in [
            ("--objects 2000000", &[5][..]),
            ("--requests-per-month 20000000", &[1, 2, 4]),
            ("--keys 2", &[0, 1, 7, 8, 10, 12, 14, 15, 16, 17]),
            ("--trails 2", &[3, 7, 8, 10, 12, 14, 15, 16, 17]),
            ("--replaced-gb-per-month 100", &[4]),
            ("--buckets 2", &[6, 7, 8, 10, 12, 14, 15, 16, 17]),
            ("--events-per-month 200", &[6, 7, 8, 9, 10, 11, 12, 14, 15]),
        ] {
            let now = dollars(more);
            let differing: Vec<_> = (0..base.len()).filter(|n| base[*n] != now[*n]).collect();
            assert_eq!(differing, moved, "{more}");
        }
        assert!(
            total(&estimate(&usage("--requests-per-month 0 --objects 0 --sweeps-per-month 0 --events-per-month 0")))
                == 1.0
        );
    }

    /// What a look read and wrote of the ledger, in calls.
    async fn ledger_calls(fake: &FakeAws, input: Value) -> (usize, usize) {
        fake.state().calls.clear();
        fake.remediate(input).await.unwrap();
        let count = |names: &[&str]| fake.state().calls.iter().filter(|it| names.contains(&it.as_str())).count();
        (count(&["BatchGetItem"]), count(&["UpdateItem", "PutItem"]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_reads_and_writes_the_ledger_as_often_as_is_counted() {
        let fake = FakeAws::compliant().await;
        fake.state().ledger = Some([].into());
        let sweep = || json!({"Records": [{"messageId": "m", "body": json!({"bucket": BUCKET}).to_string()}]});
        assert_eq!(ledger_calls(&fake, sweep()).await, (1, 1), "the first of its day");
        assert_eq!(ledger_calls(&fake, sweep()).await, (1, 0));
        fake.set("versioning", None);
        let call = |by: &str| {
            json!({"detail": {
                "eventSource": "s3.amazonaws.com", "eventName": "PutBucketVersioning", "eventID": by,
                "eventTime": jiff::Timestamp::now(), "userAgent": "[Terraform/1.13.4]", "sourceIPAddress": "203.0.113.17",
                "requestParameters": {"bucketName": BUCKET},
                "userIdentity": {"arn": by, "sessionContext": {"sessionIssuer": {"arn": by}}},
            }})
        };
        let restore = ledger_calls(&fake, call("arn:aws:iam::111122223333:role/dev-ci")).await;
        assert_eq!(restore, (READ_UNITS_A_LOOK as usize, WRITES_A_RESTORE as usize));
        assert_eq!(ledger_calls(&fake, call(ROLE)).await, (1, 0), "its own event");
        let size = fake.state().ledger.iter().flatten().map(|it| it.1.to_string().len()).max().unwrap();
        assert!((size as f64) < ITEM_KB * 1000.0, "{size} bytes");
    }

    /// A history of the real functions in which nothing goes wrong, and an insider's first act is all that happens, or not.
    fn quiet(buckets: usize, is_broken: bool) -> History {
        const SEED: u64 = 3;
        let options = || Options { buckets, ..Options::default() };
        let simulator = Simulator::new(options());
        let mut acts =
            simulator.history(SEED).happened.into_iter().filter(|it| it.to_string().starts_with("insider:0:"));
        let only = acts.next().filter(|_| is_broken).into_iter().collect();
        simulator.history_of(SEED, &Options { only: Some(Rc::new(only)), ..options() })
    }

    #[test]
    fn what_a_quiet_history_is_billed_is_what_is_estimated() {
        for (buckets, is_broken) in [(1, false), (3, false), (1, true)] {
            let History { billed, invocations, .. } = quiet(buckets, is_broken);
            let billed = |begin: &str| -> f64 {
                let named = billed.iter().filter(|(name, _)| name.starts_with(begin));
                named.map(|it| *it.1 as f64).sum()
            };
            let (events, sweeps) = (u64::from(is_broken), billed("cloudtrail DescribeTrails"));
            assert!(sweeps >= 3.0);
            let estimated = |item: &str, sweeps: f64| {
                let more = format!("--buckets {buckets} --events-per-month {events} --sweeps-per-month {sweeps}");
                let lines = estimate(&usage(&format!("{more} --objects 0 --requests-per-month 0")));
                lines.into_iter().find(|it| it.price.item == item).unwrap().quantity
            };
            for (item, begins) in [
                ("S3 configuration reads", "s3 Get"),
                ("KMS requests", "kms "),
                ("DynamoDB reads", "dynamodb BatchGetItem"),
                ("SNS e-mails", "sns Publish"),
                ("EventBridge, events of AWS", "events delivered"),
            ] {
                assert_eq!(billed(begins), estimated(item, sweeps), "{item} of {buckets} buckets, {events} events");
            }
            // All of it is one day.
            let written = billed("dynamodb PutItem") + billed("dynamodb UpdateItem");
            assert_eq!(written * ITEM_KB, estimated("DynamoDB writes", 1.0), "{buckets} buckets, {events} events");
            // Lambda takes several messages at once where it can.
            assert!((invocations as f64) <= estimated("Lambda requests", sweeps));
            assert!(billed("sqs ") <= estimated("SQS requests", sweeps) - EMPTY_RECEIVES);
        }
    }

    #[test]
    fn the_document_has_every_price() {
        let document = include_str!("../../../COSTS.md");
        for Price { item, dollars, per, unit, source, dated, verified } in PRICES {
            let verified = if verified { "yes" } else { "no" };
            let row = format!("| {item} | {dollars} per {per} {unit} | <{source}> | {dated} | {verified} |");
            assert!(document.contains(&row), "COSTS.md lacks\n{row}");
        }
    }
}
