//! When people are told of an exemption, whether its control has drifted or not: a day before its end, at its end, and every
//! day while it lasts longer than anybody should be let off.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{control::table::Control, outcome::exemption::Exemption, outcome::ledger::Permitted, value::plain::clean};

/// An exemption ends while somebody still knows why it was made: 90 days, and the last day counts whole.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 91);

/// How long before its end people are told, and how often of one that lasts longer.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What is to be told, by control, in a sentence; `known` is what was told before, and then holds this. `exemptions`: of
/// the registry document.
pub fn announce(
    known: &mut BTreeMap<Control, Permitted>,
    exemptions: &[Exemption],
    now: Timestamp,
) -> Vec<(Control, String)> {
    let mut told = Vec::new();
    let mut in_force: BTreeMap<Control, &Exemption> = BTreeMap::new();
    for exemption in exemptions.iter().filter(|it| now < it.until) {
        // Of several, the last to end counts.
        let last = in_force.entry(exemption.control).or_insert(exemption);
        if last.until < exemption.until {
            *last = exemption;
        }
    }
    for (control, exemption) in &in_force {
        let until = exemption.until;
        // One that is made longer is another.
        let permitted = known.entry(*control).or_insert(Permitted::new(until));
        if permitted.until != until {
            *permitted = Permitted::new(until);
        }
        let left = until.duration_since(now);
        let text = if left > LONGEST && permitted.told.is_none_or(|it| now.duration_since(it) >= DAY) {
            format!("the exemption of {control} lasts until {}, more than 90 days from now", minute(until))
        } else if left <= DAY && !permitted.end_is_told {
            permitted.end_is_told = true;
            format!("the exemption of {control} ends at {}; then drift of it counts again", minute(until))
        } else {
            continue;
        };
        permitted.told = Some(now);
        told.push((*control, text + &who(exemption)));
    }
    known.retain(|control, permitted| {
        let is_in_force = in_force.contains_key(control);
        // Who takes one back knows, and that the registry was changed is told anyway.
        if !is_in_force && permitted.until <= now {
            told.push((*control, format!("the exemption of {control} ended at {}", minute(permitted.until))));
        }
        is_in_force
    });
    told
}

/// Why it was made and by whose leave, as far as that is said.
fn who(Exemption { control: _, until: _, reason, approved_by }: &Exemption) -> String {
    let said = [("reason", reason), ("approved by", approved_by)];
    let said = said.into_iter().filter(|(_, it)| !it.is_empty());
    let said: Vec<_> = said.map(|(what, it)| format!("{what}: {}", clean(it))).collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) }
}

fn minute(time: Timestamp) -> impl std::fmt::Display {
    time.strftime("%Y-%m-%d %H:%M UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 1.0;
    const DAYS: f64 = 24.0;

    /// So many hours after the beginning.
    fn at(hours: f64) -> Timestamp {
        "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs_f64(hours * 3600.0)
    }

    fn exemption(control: Control, until: f64) -> Exemption {
        Exemption { control, until: at(until), reason: String::new(), approved_by: String::new() }
    }

    /// What is told at these times of what the document says then.
    fn told(looks: &[(f64, &[f64])]) -> Vec<String> {
        let mut known = BTreeMap::new();
        let mut all = Vec::new();
        for (now, until) in looks {
            let exemptions: Vec<_> = until.iter().map(|it| exemption(Control::Versioning, *it)).collect();
            let told = announce(&mut known, &exemptions, at(*now));
            all.extend(told.into_iter().map(|it| format!("{now}: {}", it.1)));
        }
        all
    }

    #[test]
    fn its_end_is_told_once_a_day_before_and_once_when_it_has_come() {
        let until = &[30.0 * DAYS][..];
        let looks = [0.0, 28.9 * DAYS, 29.0 * DAYS, 29.5 * DAYS, 30.0 * DAYS - 0.1, 30.0 * DAYS, 31.0 * DAYS];
        let looks: Vec<_> = looks.into_iter().map(|it| (it, until)).collect();
        assert_eq!(
            told(&looks),
            [
                "696: the exemption of versioning ends at 2026-12-23 10:00 UTC; then drift of it counts again",
                "720: the exemption of versioning ended at 2026-12-23 10:00 UTC",
            ]
        );
    }

    #[test]
    fn one_that_is_made_longer_is_another_and_one_that_is_taken_back_needs_no_words() {
        let [short, long] = [2.0 * DAYS, 9.0 * DAYS];
        let looks = [(30.0, &[short][..]), (31.0, &[short, long]), (32.0, &[long, short]), (8.5 * DAYS, &[long])];
        assert_eq!(
            told(&[looks.as_slice(), &[(8.6 * DAYS, &[]), (8.7 * DAYS, &[])]].concat()),
            [
                "30: the exemption of versioning ends at 2026-11-25 10:00 UTC; then drift of it counts again",
                "204: the exemption of versioning ends at 2026-12-02 10:00 UTC; then drift of it counts again",
            ]
        );
    }

    #[test]
    fn one_that_lasts_longer_than_90_days_is_told_every_day() {
        let longest = 91.0 * DAYS;
        let times = |until: f64| {
            let looks: Vec<_> = (0..60).map(|hour| (f64::from(hour), [until])).collect();
            let looks: Vec<_> = looks.iter().map(|(now, until)| (*now, until.as_slice())).collect();
            told(&looks).iter().map(|it| it.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(times(9_999.0 * DAYS), ["0", "24", "48"]);
        assert_eq!(times(longest + HOUR), ["0"]);
        assert_eq!(times(longest), Vec::<String>::new());
        let text = &told(&[(0.0, &[9_999.0 * DAYS])])[0];
        assert!(text.contains("lasts until 2054-04-09 10:00 UTC, more than 90 days from now"), "{text}");
    }

    #[test]
    fn one_that_ended_before_anybody_looked_is_not_told() {
        assert_eq!(told(&[(5.0, &[4.0])]), Vec::<String>::new());
    }

    #[test]
    fn each_control_has_its_own_and_says_why_it_was_made() {
        let mut known = BTreeMap::new();
        let (reason, approved_by) = ("CHG-1\n".to_owned(), "ann".to_owned());
        let versioning = Exemption { reason, approved_by, ..exemption(Control::Versioning, 1.0) };
        let told = announce(&mut known, &[exemption(Control::Lifecycle, 99.0), versioning], at(0.0));
        let text = "the exemption of versioning ends at 2026-11-23 11:00 UTC; then drift of it counts again (reason: CHG-1; approved by: ann)";
        assert_eq!(told, [(Control::Versioning, text.to_owned())]);
        assert_eq!(known.len(), 2);
    }
}
