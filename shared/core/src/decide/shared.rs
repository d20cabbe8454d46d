//! What many buckets lean on: one look for all of them.
//!
//! Requirements of several buckets never undo each other: of a key and of a trail each asks for something beside what is
//! there. So buckets that go by it alike are restored as one, whatever statements and selectors each of them needs.

use jiff::Timestamp;

use crate::{
    control::{
        kms_key::{Duty, RequiredKey},
        table::Control,
        trail::RequiredTrail,
    },
    decide::baseline::Baseline,
    edge::registry::{Mode, Registration},
    value::{
        names::{AccountId, BucketName, RoleArn},
        subject::Subject,
    },
};

/// Buckets that use the same and go by it alike.
#[derive(Clone, Debug)]
pub struct Group {
    /// What all of them need of it.
    pub baseline: Baseline,
    /// The first one's, which says whether anything is written.
    pub registration: Registration,
    pub buckets: Vec<BucketName>,
}

/// The control that a subject is of its buckets; `None`: it is no part of theirs.
pub fn control(subject: &Subject) -> Option<Control> {
    match subject {
        Subject::Key(_) => Some(Control::KmsKey),
        Subject::Trail(_) => Some(Control::Trail),
        Subject::Bucket(_) | Subject::Guardrail => None,
    }
}

/// The buckets that use a key or a trail of ours, in groups; those for which it is restored come first. A document that is
/// not valid is told where its bucket is looked at.
pub fn groups(
    subject: &Subject,
    registrations: Vec<Registration>,
    owner: &AccountId,
    role: &RoleArn,
    now: Timestamp,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for registration in registrations {
        let Some(baseline) = baseline(subject, &registration, owner, role) else { continue };
        match groups.iter_mut().find(|it| it.goes_by_it_like(&registration, &baseline, subject, now)) {
            Some(group) => group.join(registration.bucket, baseline),
            None => groups.push(Group { baseline, buckets: vec![registration.bucket.clone()], registration }),
        }
    }
    let is_left = |it: &Registration| {
        it.mode == Mode::Observe || control(subject).is_some_and(|control| it.exemption(control, now).is_some())
    };
    groups.sort_by_key(|it| is_left(&it.registration));
    groups
}

/// What a bucket needs of a subject, and nothing else; `None`: nothing.
fn baseline(subject: &Subject, registration: &Registration, owner: &AccountId, role: &RoleArn) -> Option<Baseline> {
    let whole = Baseline::new(registration, owner, role).ok()?;
    match subject {
        Subject::Key(key) if registration.key_arn == *key => {
            whole.kms_key.is_some().then_some(Baseline { trail: None, ..whole })
        }
        Subject::Key(key) if registration.former_keys.contains(key) => whole.with_former_key(key),
        Subject::Trail(trail) => {
            let uses = whole.trail.as_ref().is_some_and(|it| it.arn == *trail);
            uses.then_some(Baseline { kms_key: None, ..whole })
        }
        Subject::Key(_) | Subject::Bucket(_) | Subject::Guardrail => None,
    }
}

impl Group {
    fn goes_by_it_like(
        &self,
        registration: &Registration,
        baseline: &Baseline,
        subject: &Subject,
        now: Timestamp,
    ) -> bool {
        let Self { registration: own, .. } = self;
        let key = |it: &Baseline| it.kms_key.as_ref().map(|it| (it.duty, it.alias.clone()));
        let exemption = |it: &Registration| control(subject).and_then(|control| it.exemption(control, now).cloned());
        (own.mode, own.on_fight, own.drop_dead_principals, exemption(own), key(&self.baseline))
            == (
                registration.mode,
                registration.on_fight,
                registration.drop_dead_principals,
                exemption(registration),
                key(baseline),
            )
    }

    fn join(&mut self, bucket: BucketName, other: Baseline) {
        self.buckets.push(bucket);
        if let (Some(key), Some(other)) = (&mut self.baseline.kms_key, other.kms_key) {
            let RequiredKey { arn: _, duty: _, alias: _, statements, serves } = other;
            let new: Vec<_> = statements.into_iter().filter(|it| !key.statements.contains(it)).collect();
            key.statements.extend(new);
            key.serves.extend(serves);
        }
        if let (Some(trail), Some(other)) = (&mut self.baseline.trail, other.trail) {
            // Of a trail that is not there, the first one's key and log bucket count.
            let RequiredTrail { arn: _, key: _, log_bucket: _, objects } = other;
            trail.objects.extend(objects);
        }
    }

    /// What people should know beside a finding; `None`: nothing.
    pub fn note(&self) -> Option<String> {
        let key = self.baseline.kms_key.as_ref().filter(|it| it.duty == Duty::Decrypt)?;
        let of = match self.buckets.as_slice() {
            [_] => "the bucket".to_owned(),
            buckets => buckets.iter().take(10).map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        Some(format!("This is {}, which {of} had before: what was uploaded then cannot be read without it.", key.arn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::registry::Registration;

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";
    const TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t";
    const OTHER_TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/other";

    fn registration(bucket: &str, trail: &str) -> Registration {
        Registration {
            key_alias: "alias/acme".parse().ok(),
            trail_arn: trail.parse().ok(),
            ..Registration::new(bucket.parse().unwrap(), "111122223333".parse().unwrap(), KEY.parse().unwrap())
        }
    }

    fn groups(subject: &Subject, registrations: Vec<Registration>) -> Vec<Group> {
        let role = "arn:aws:iam::111122223333:role/guardrail".parse().unwrap();
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        super::groups(subject, registrations, &"111122223333".parse().unwrap(), &role, now)
    }

    fn names(groups: &[Group]) -> Vec<Vec<&str>> {
        groups.iter().map(|it| it.buckets.iter().map(BucketName::as_str).collect()).collect()
    }

    fn key() -> Subject {
        Subject::Key(KEY.parse().unwrap())
    }

    #[test]
    fn buckets_that_go_by_a_key_alike_are_one_group_with_all_that_they_need() {
        let all = groups(
            &key(),
            vec![registration("acme-a", TRAIL), registration("acme-b", OTHER_TRAIL), registration("acme-c", TRAIL)],
        );
        assert_eq!(names(&all), [["acme-a", "acme-b", "acme-c"]]);
        let required = all[0].baseline.kms_key.as_ref().unwrap();
        let sids: Vec<_> = required.statements.iter().filter_map(|it| it.sid()).collect();
        assert_eq!(sids.len(), 5, "one for inventories, two for each trail: {sids:?}");
        assert_eq!(required.serves.len(), 3);
        assert!(all[0].baseline.trail.is_none(), "the trail is another subject");
    }

    #[test]
    fn a_trail_is_to_log_the_objects_of_all_its_buckets() {
        let trail = Subject::Trail(TRAIL.parse().unwrap());
        let all = groups(
            &trail,
            vec![registration("acme-a", TRAIL), registration("acme-b", OTHER_TRAIL), registration("acme-c", TRAIL)],
        );
        assert_eq!(names(&all), [["acme-a", "acme-c"]]);
        assert_eq!(all[0].baseline.trail.as_ref().unwrap().objects, ["arn:aws:s3:::acme-a/", "arn:aws:s3:::acme-c/"]);
        assert!(all[0].baseline.kms_key.is_none());
    }

    #[test]
    fn what_one_bucket_only_observes_is_restored_for_the_other_and_first() {
        let observed = Registration { mode: Mode::Observe, ..registration("acme-a", TRAIL) };
        assert_eq!(names(&groups(&key(), vec![observed, registration("acme-b", TRAIL)])), [["acme-b"], ["acme-a"]]);
    }

    #[test]
    fn another_alias_is_another_group_and_another_key_none() {
        let alias = Registration { key_alias: "alias/other".parse().ok(), ..registration("acme-b", TRAIL) };
        let other = Registration {
            key_arn: "arn:aws:kms:eu-west-2:111122223333:key/other".parse().unwrap(),
            ..registration("acme-c", TRAIL)
        };
        let former = Registration {
            bucket: "acme-d".parse().unwrap(),
            former_keys: vec![KEY.parse().unwrap()],
            ..other.clone()
        };
        let all = groups(&key(), vec![registration("acme-a", TRAIL), alias, other, former]);
        assert_eq!(names(&all), [["acme-a"], ["acme-b"], ["acme-d"]]);
        assert!(all[2].note().unwrap().contains("which the bucket had before"));
        assert_eq!((all[0].note(), all[1].note()), (None, None));
    }
}
