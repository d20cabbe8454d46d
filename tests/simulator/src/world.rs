//! S3 as it is: each setting with its versions, and who wrote them. A read may show an older one.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use guardrail_core::{
    control::{setting::BucketSetting, table::Control},
    outcome::{observed::Observed, setting::Setting, step::Change},
    value::failure::Read,
};

/// In milliseconds since the history began.
pub(crate) type Time = u64;

/// How late a read may show a write, in milliseconds. The rereads of an echo take 3.5 s.
const STALENESS: Time = 2_000;

/// Who wrote a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Others,
    Guardrail,
}

#[derive(Clone, Debug)]
struct Version {
    since: Time,
    writer: Writer,
    setting: Setting,
}

/// One bucket.
#[derive(Debug)]
pub(crate) struct World {
    settings: BTreeMap<Control, Vec<Version>>,
}

/// What a read shows, and from when it is: the latest time at which it was certainly so.
pub(crate) struct Shown {
    pub(crate) setting: Setting,
    pub(crate) as_of: Time,
}

macro_rules! by_control {
    ($($name:ident $field:ident $value:ty,)*) => {
        fn unset() -> Vec<(Control, Setting)> {
            vec![$((Control::$name, Setting::$name(BucketSetting::unset())),)*]
        }

        /// What a look has read, as the plan takes it.
        pub(crate) fn observed(mut read: BTreeMap<Control, Read<Setting>>) -> Option<Observed> {
            Some(Observed {
                $($field: match read.remove(&Control::$name)? {
                    Ok(Setting::$name(setting)) => Ok(setting),
                    Ok(_) => return None,
                    Err(error) => Err(error),
                },)*
            })
        }
    };
}
guardrail_core::for_settings_of_buckets!(by_control);

/// What S3 has of a setting after a change was written; `None`: it is none of the bucket's own.
pub(crate) fn written(change: &Change) -> Option<Setting> {
    Some(match change.clone() {
        Change::PublicAccessBlock(drift) => Setting::PublicAccessBlock(drift.desired),
        Change::ObjectOwnership(drift) => Setting::ObjectOwnership(drift.desired),
        Change::BucketPolicy(drift) => Setting::BucketPolicy(drift.desired),
        Change::DefaultEncryption(drift) => Setting::DefaultEncryption(drift.desired),
        Change::Versioning(drift) => Setting::Versioning(drift.desired),
        Change::Lifecycle(drift) => Setting::Lifecycle(drift.desired),
        Change::Inventory(drift) => Setting::Inventory(Some(drift.desired)),
        Change::KmsKey(_) | Change::Trail(_) => return None,
    })
}

/// The owner's parts of a setting, by name: statements and rules that are not the guardrail's.
pub(crate) fn owners(setting: &Setting) -> BTreeSet<String> {
    match setting {
        Setting::BucketPolicy(policy) => {
            policy.statements.iter().filter_map(|it| it.sid()).filter(|it| is_owners(it)).map(str::to_owned).collect()
        }
        Setting::Lifecycle(lifecycle) => {
            let ids = lifecycle.rules.iter().filter_map(|it| it.child_text("ID"));
            ids.filter(|it| is_owners(it)).map(str::to_owned).collect()
        }
        _ => BTreeSet::new(),
    }
}

fn is_owners(name: &str) -> bool {
    name.starts_with("Owner")
}

impl World {
    /// A bucket that nobody has configured.
    pub(crate) fn new() -> Self {
        let version = |setting| vec![Version { since: 0, writer: Writer::Others, setting }];
        Self { settings: unset().into_iter().map(|(control, setting)| (control, version(setting))).collect() }
    }

    fn versions(&self, control: Control) -> &[Version] {
        self.settings.get(&control).map_or(&[], Vec::as_slice)
    }

    /// The truth.
    pub(crate) fn now(&self, control: Control) -> Option<&Setting> {
        self.versions(control).last().map(|it| &it.setting)
    }

    /// When the truth was written, and by whom.
    pub(crate) fn latest(&self, control: Control) -> (Time, Writer) {
        self.versions(control).last().map_or((0, Writer::Others), |it| (it.since, it.writer))
    }

    /// Whether somebody else wrote a setting between two times.
    pub(crate) fn others_wrote(&self, control: Control, after: Time, until: Time) -> bool {
        self.versions(control).iter().any(|it| it.writer == Writer::Others && (after..=until).contains(&it.since))
    }

    /// What a read shows that S3 serves at this time.
    pub(crate) fn read(&self, control: Control, now: Time, rng: &mut Rng) -> Option<Shown> {
        let as_of = if rng.u8(..) < 26 { now.saturating_sub(rng.u64(..STALENESS)) } else { now };
        let version = self.versions(control).iter().rev().find(|it| it.since <= as_of)?;
        Some(Shown { setting: version.setting.clone(), as_of })
    }

    /// Writes a setting.
    pub(crate) fn write(&mut self, control: Control, setting: Setting, now: Time, writer: Writer) {
        self.settings.entry(control).or_default().push(Version { since: now, writer, setting });
    }
}
