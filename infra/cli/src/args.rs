//! The command line.

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;
use guardrail_core::{
    control::{inventory::InventoryFormat, table::Control},
    decide::adoption::Breaks,
    edge::config,
    outcome::record_file::RecordFile,
    value::names::{BucketName, KeyAlias, KeyArn, RoleArn, TopicArn},
};

use crate::cost::Usage;

/// Keeps S3 buckets on their secure baseline: look, build, restore, exempt.
#[derive(Debug, Parser)]
#[command(name = "guardrail", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 all is as it should be, 1 an error (or a dry run of what would stop), 2 drift.

Examples:
  guardrail plan acme-data                     what is not as it should be; changes nothing
  guardrail bootstrap acme-data --dry-run      what building the baseline would do
  guardrail list                               every guarded bucket and its state
  guardrail replay ./cloudtrail-logs           which calls would have called the guardrail";

/// Whose AWS, and how the answer looks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Profile of the AWS configuration files
    #[arg(long, global = true)]
    pub profile: Option<String>,
    /// Region of the buckets [default: the profile's]
    #[arg(long, global = true)]
    pub region: Option<String>,
    /// Another AWS than AWS's own
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Path of the registry in the Parameter Store
    #[arg(long, global = true, value_name = "PATH", default_value = config::DEFAULT_PREFIX, value_parser = config::parameter_prefix)]
    pub prefix: String,
    /// Role of guardrail-remediate, which no bucket policy may lock out [default: s3-guardrail-remediate-REGION of the account]
    #[arg(long, global = true, value_name = "ARN")]
    pub guardrail_role: Option<RoleArn>,
    /// Plain text, also on a terminal
    #[arg(long, global = true)]
    pub no_color: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what is not as it should be, before and after. Changes nothing
    #[command(after_help = "\
The baseline is the bucket's registry document, unless --baseline or --key-arn says otherwise. For a
bucket that is not registered and without either, a placeholder stands for the key.

Examples:
  guardrail plan acme-data acme-logs
  guardrail plan new-bucket --key-arn arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-…
  guardrail plan acme-data --baseline acme-data.json
  guardrail plan acme-data --json | jq '.buckets[].findings'")]
    Plan(PlanArguments),
    /// Build the baseline of a bucket, new or old, and register it. Can be run again at any time
    #[command(after_help = "\
Stops before anything is written when that would break something in a bucket that is there and not guarded
yet, or be refused by AWS: --dry-run says what, --accept NAME goes on all the same.

Examples:
  guardrail bootstrap acme-data --dry-run
  guardrail bootstrap acme-data --accept drops-acl-grants,denies-uploads
  guardrail bootstrap acme-data --key-administrator arn:aws:iam::111122223333:role/security")]
    Bootstrap(BootstrapArguments),
    /// Restore a guarded bucket now, with your own credentials
    #[command(after_help = "\
Examples:
  guardrail reconcile acme-data --dry-run
  guardrail reconcile acme-data")]
    Reconcile(ReconcileArguments),
    /// Every guarded bucket: its state, how old that knowledge is, its mode, its exemptions in force
    #[command(after_help = "\
Reads what the guardrail's looks wrote into the ledger (GUARDRAIL_LEDGER_TABLE, or s3-guardrail-ledger): what
is open, since when, and when people were told. A look that found nothing new is written down once a day. What
nobody has looked at lately is unknown. --live asks AWS about every bucket itself.

Examples:
  guardrail list
  guardrail list --live
  guardrail list --json | jq -r '.[] | select(.state != \"compliant\") | .bucket'")]
    List(ListArguments),
    /// Leave one control of a bucket to drift, until a time
    #[command(after_help = "\
Takes the place of an exemption that the control already has. Counts from the next event on.

Example:
  guardrail exempt acme-data versioning --until 2027-01-31 --reason 'migration, CHG-4711' --approved-by ann")]
    Exempt(ExemptArguments),
    /// What was restored in a bucket, and when: the newest records first
    #[command(after_help = "\
Each reconcile, bootstrap and rollback that wrote something leaves one record in the bucket's log bucket: who
did what, what was there before, what was written. The alert names it, too. Works for a bucket that is not
registered, too: one whose bootstrap stopped half-way, or a log bucket.

Examples:
  guardrail history acme-data
  guardrail history acme-data --json | jq '.[0].findings'")]
    History(HistoryArguments),
    /// Take back what a record says was restored, and leave it so until a time
    #[command(after_help = "\
For the night in which a restore broke an application. Shows what is now and what was before, asks, then
adds an exemption for each control, so that nothing is restored again, and puts back what was there. What it
leaves out it says. A bucket that is not registered needs no exemption, and gets none.

Examples:
  guardrail history acme-data
  guardrail rollback s3://acme-data-logs/s3-guardrail/history/acme-data/2026/11/23/091407.123Z-0b4a….json \\
      --until 2026-11-24 --reason 'uploads of the billing job fail, INC-4711' --dry-run")]
    Rollback(RollbackArguments),
    /// Put a registry document back that was deleted or broken
    #[command(after_help = "\
Takes the newest valid version that the Parameter Store remembers; it forgets them all when the parameter
is deleted, and then the copy that the guardrail keeps. Shows it and asks.

Example:
  guardrail restore-registration acme-data --dry-run")]
    RestoreRegistration(RestoreRegistrationArguments),
    /// Give what no attempt could handle once more to the function it was meant for; mend the cause first
    #[command(after_help = "\
Takes each message of the dead-letter queue, invokes guardrail-remediate or guardrail-sweep with it,
whichever it was meant for, and removes it when that worked. What fails again is told, and stays; so is
what does not say whom it was meant for.

Example:
  guardrail redrive --dry-run                  what is there")]
    Redrive {
        /// Only show what is there
        #[arg(long)]
        dry_run: bool,
    },
    /// Which calls of CloudTrail's log files would have called the guardrail. Needs no AWS
    #[command(after_help = "\
Reads CloudTrail's log files (.json, .json.gz), files with a record a line, and folders of them,
one record at a time.

Examples:
  aws s3 sync s3://acme-data-logs/AWSLogs ./logs && guardrail replay ./logs
  guardrail replay ./logs --bucket acme-data --json")]
    Replay(ReplayArguments),
    /// What the guardrail would cost a month. An estimate; needs no AWS
    #[command(after_help = "\
Every price with where it is from: COSTS.md.

Examples:
  guardrail cost
  guardrail cost --buckets 40 --objects 250000000 --requests-per-month 900000000")]
    Cost {
        #[command(flatten)]
        usage: Usage,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Take a bucket down for good: its versions, its baseline, and on demand its logs, trail and key
    #[command(after_help = "\
Shows what goes and what stays, then asks for the bucket's name. In this order: registry document,
trail, uploads, versions and delete markers, bucket, log and inventory bucket, alias and key. Refuses what
another guarded bucket uses, and what is locked. When it stops, run it again: it goes on from there.

Examples:
  guardrail teardown acme-data --dry-run
  guardrail teardown acme-data
  guardrail teardown acme-data --trail --logs --key-deletion-days 30")]
    Teardown(TeardownArguments),
    /// Prove the baseline of a live bucket, by doing what it must refuse and what it must let through
    #[command(after_help = "\
Ends with 0 when all is proven, 2 when something is disproven, 1 when that is not known. Writes test
objects under a prefix of its own and removes them; the evidence also goes to the log bucket.

Examples:
  guardrail verify acme-data > evidence.md
  guardrail verify acme-data --json | jq '.proofs[] | select(.outcome != \"proven\")'")]
    Verify(VerifyArguments),
    /// Whether your credentials, permissions and quotas are enough, and what is deployed fits. Changes nothing
    #[command(after_help = "\
Also asks CloudFormation and EventBridge whether they would take the templates and the rules, and looks at each
registered bucket. ok: all is well; ??: nobody can tell, or it is for you to judge; !!: mend that first (exit 1).

Example:
  guardrail preflight acme-data")]
    Preflight {
        /// An existing bucket to try the reads on
        bucket: Option<BucketName>,
    },
    /// Ask this account what only an account can tell of AWS, in an empty bucket to throw away
    #[command(after_help = "\
Refuses a bucket that does not exist, is guarded or in use, or holds objects. Writes test objects, statements
about them and settings, and puts everything back; when it is interrupted, run it again: that removes what is
left. Prints a block of Markdown without accounts, ARNs and names, to be pasted into an issue.
Ends with 0, with 2 when AWS does otherwise than the guardrail believes.

Example:
  aws s3api create-bucket --bucket acme-throwaway && guardrail first-run acme-throwaway > answers.md")]
    FirstRun(FirstRunArguments),
    /// Completions for a shell, on the standard output
    #[command(after_help = "\
Example:
  guardrail completions bash > ~/.local/share/bash-completion/completions/guardrail")]
    Completions { shell: Shell },
}

/// What `guardrail list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Ask AWS about every bucket, instead of the ledger
    #[arg(long)]
    pub live: bool,
    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[arg(required = true, value_name = "BUCKET")]
    pub buckets: Vec<BucketName>,
    /// The one key that uploads may use, for buckets that are not registered
    #[arg(long, value_name = "ARN")]
    pub key_arn: Option<KeyArn>,
    /// A registry document to plan with, instead of the registered one
    #[arg(long, value_name = "FILE", conflicts_with = "key_arn")]
    pub baseline: Option<PathBuf>,
    /// JSON instead of a diff
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BootstrapArguments {
    pub bucket: BucketName,
    /// [default: alias/s3-secure-data]
    #[arg(long, value_name = "ALIAS")]
    pub key_alias: Option<KeyAlias>,
    /// The key by its ARN [default: the one that the alias names, or a new one]
    #[arg(long, value_name = "ARN")]
    pub key: Option<KeyArn>,
    /// Who may administer the key, besides those who may already; can be given more than once
    #[arg(long, value_name = "ARN")]
    pub key_administrator: Vec<String>,
    /// Who may encrypt and decrypt with the key, besides those who may already; can be given more than once
    #[arg(long, value_name = "ARN")]
    pub key_user: Vec<String>,
    /// [default: BUCKET-logs]
    #[arg(long, value_name = "BUCKET")]
    pub log_bucket: Option<BucketName>,
    /// [default: BUCKET-inventory]
    #[arg(long, value_name = "BUCKET")]
    pub inventory_bucket: Option<BucketName>,
    /// [default: BUCKET-trail]
    #[arg(long, value_name = "NAME")]
    pub trail: Option<String>,
    /// [default: what is there already, or Parquet]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub inventory_format: Option<InventoryFormat>,
    /// Also a budget of the account that mails this address at the first cent of a month
    #[arg(long, value_name = "EMAIL")]
    pub zero_spend_budget: Option<String>,
    /// What may break or be destroyed in a bucket that is there; can be given more than once
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = breaks_parser())]
    pub accept: Vec<Breaks>,
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReconcileArguments {
    pub bucket: BucketName,
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Also tell the people who subscribed to this topic
    #[arg(long, value_name = "ARN")]
    pub topic: Option<TopicArn>,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExemptArguments {
    pub bucket: BucketName,
    #[arg(value_parser = control_parser())]
    pub control: Control,
    #[command(flatten)]
    pub leave: Leave,
}

/// Leave to be otherwise than the baseline.
#[derive(Debug, Args)]
pub(crate) struct Leave {
    /// A time like 2027-01-31T18:00:00Z, or a date: through the end of that day, UTC
    #[arg(long, value_name = "DATE")]
    pub until: String,
    /// Why; it is told whenever the exemption is used
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[arg(long, value_name = "NAME", default_value = "")]
    pub approved_by: String,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    pub bucket: BucketName,
    /// How many records to show
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// Where to look, for a bucket that is not registered, or the log bucket that it had before
    /// [default: the registered one, or BUCKET-logs]
    #[arg(long, value_name = "BUCKET")]
    pub log_bucket: Option<BucketName>,
    /// JSON, with all that the records hold
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreRegistrationArguments {
    pub bucket: BucketName,
    /// Only show what would be put back
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    /// As the alert and `guardrail history` name it: s3://...
    #[arg(value_name = "RECORD")]
    pub file: RecordFile,
    /// Only this control; can be given more than once
    #[arg(long, value_parser = control_parser())]
    pub control: Vec<Control>,
    #[command(flatten)]
    pub leave: Leave,
    /// Also what was changed again since then
    #[arg(long)]
    pub overwrite: bool,
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// Only calls about this bucket; can be given more than once
    #[arg(long)]
    pub bucket: Vec<BucketName>,
    /// A line of JSON per call
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TeardownArguments {
    pub bucket: BucketName,
    /// Also the trail
    #[arg(long)]
    pub trail: bool,
    /// Also the log and the inventory bucket, with the evidence; the trail must not write there any more
    #[arg(long, requires = "trail")]
    pub logs: bool,
    /// Also the key, after so many days: from now on nobody can read what it encrypted
    #[arg(long, value_name = "7..30", value_parser = clap::value_parser!(i32).range(7..=30))]
    pub key_deletion_days: Option<i32>,
    /// A bucket that is not guarded, too
    #[arg(long)]
    pub unregistered: bool,
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// The bucket's name once more, instead of being asked for it
    #[arg(long, value_name = "BUCKET")]
    pub yes_delete: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    pub bucket: BucketName,
    /// Leave accounts, keys, addresses and people in the evidence
    #[arg(long)]
    pub no_redact: bool,
    /// JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FirstRunArguments {
    pub bucket: BucketName,
    /// How long to wait in the end until CloudTrail shows what was done
    #[arg(long, value_name = "MINUTES", default_value_t = 15)]
    pub wait: u64,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

fn control_parser() -> impl TypedValueParser<Value = Control> {
    PossibleValuesParser::new(Control::ALL.map(Control::id))
        .try_map(|id| Control::ALL.into_iter().find(|it| it.id() == id).ok_or("not a control"))
}

fn breaks_parser() -> impl TypedValueParser<Value = Breaks> {
    PossibleValuesParser::new(Breaks::ALL.map(Breaks::name))
        .try_map(|name| Breaks::ALL.into_iter().find(|it| it.name() == name).ok_or("not what can break"))
}

fn format_parser() -> impl TypedValueParser<Value = InventoryFormat> {
    const FORMATS: [InventoryFormat; 2] = [InventoryFormat::Csv, InventoryFormat::Parquet];
    PossibleValuesParser::new(FORMATS.map(InventoryFormat::as_str))
        .try_map(|name| FORMATS.into_iter().find(|it| it.as_str() == name).ok_or("not a format"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_control_is_named_by_its_id() {
        let line = ["guardrail", "exempt", "acme-data", "versioning", "--until", "2027-01-31", "--reason", "r"];
        let Command::Exempt(exempt) = Arguments::try_parse_from(line).unwrap().command else { panic!() };
        assert_eq!(exempt.control, Control::Versioning);
        let wrong = line.map(|it| if it == "versioning" { "versions" } else { it });
        assert!(Arguments::try_parse_from(wrong).unwrap_err().to_string().contains("public-access-block"));
    }
}
