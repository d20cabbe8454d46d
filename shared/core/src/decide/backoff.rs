//! How long to wait for what, and when to give up.

use std::time::Duration;

use crate::value::failure::ApiError;

/// Before each look once more at drift that a write of our own may explain: lifecycle and other reads flap after a write.
pub const REREADS: [Duration; 3] = doubling(Duration::from_millis(500));

/// Before the look once more at what reads good right after somebody else's call.
pub const REREAD_OF_GOOD: Duration = Duration::from_secs(2);

/// Before each look at what was just created: AWS takes a moment to know it everywhere.
pub const SETTLING: [Duration; 5] = doubling(Duration::from_millis(200));

/// Before each look at a key that was just enabled, or a trail that was just started.
pub const RESTART_SETTLING: [Duration; 5] = {
    let [first, second, third, fourth, _] = SETTLING;
    [Duration::ZERO, first, second, third, fourth]
};

/// Before each try of a rollback, which looks again each time.
pub const ROLLBACK: [Duration; 4] = {
    let [first, second, third] = doubling(Duration::from_secs(1));
    [Duration::ZERO, first, second, third]
};

/// Before each try of a write that AWS was too busy for.
const BUSY: [Duration; 6] = doubling(Duration::from_millis(100));

/// How long busy writes of one bucket are tried again. What is left of the function's time is for the other controls, and
/// for telling people.
const BUSY_BUDGET: Duration = Duration::from_secs(20);

/// Before each try to create a trail on what was just created, too.
const TRAIL: [Duration; 4] = doubling(Duration::from_millis(500));

/// What CloudTrail answers while what was just written is not known everywhere; each with `Exception` or without.
const NOT_KNOWN_YET: [&str; 4] =
    ["InsufficientS3BucketPolicy", "InsufficientEncryptionPolicy", "S3BucketDoesNotExist", "KmsKeyNotFound"];

/// How long to wait before a failed write is tried once more; `None`: it is given up. `tried`: how often it was tried again
/// already; `spent`: how long the writes of this bucket have taken until now.
pub fn of_write(error: &ApiError, tried: usize, spent: Duration) -> Option<Duration> {
    let wait = *BUSY.get(tried)?;
    (error.is_passing() && spent + wait < BUSY_BUDGET).then_some(wait)
}

/// The same of the creation of a trail.
pub fn of_new_trail(error: &ApiError, tried: usize) -> Option<Duration> {
    let wait = *TRAIL.get(tried)?;
    let code = error.code()?;
    NOT_KNOWN_YET.contains(&code.trim_end_matches("Exception")).then_some(wait)
}

/// Each twice as long as the one before.
const fn doubling<const N: usize>(first: Duration) -> [Duration; N] {
    let mut waits = [first; N];
    let mut at = 1;
    while at < N {
        waits[at] = waits[at - 1].saturating_mul(2);
        at += 1;
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::failure::Answer;

    fn answered(status: u16, code: &str) -> ApiError {
        let answer = Answer { arrived: true, status: Some(status), code: Some(code), ..Answer::default() };
        ApiError::answered("Call", answer, &std::fmt::Error)
    }

    #[test]
    fn a_busy_write_is_tried_for_some_seconds_and_one_that_is_refused_never() {
        let waits = |error: &ApiError, spent| {
            (0..).map_while(|tried| of_write(error, tried, Duration::from_secs(spent))).collect::<Vec<_>>()
        };
        let millis = |all: &[u64]| all.iter().map(|it| Duration::from_millis(*it)).collect::<Vec<_>>();
        for busy in [answered(409, "OperationAborted"), answered(503, "SlowDown"), answered(400, "ThrottlingException")]
        {
            assert_eq!(waits(&busy, 0), millis(&[100, 200, 400, 800, 1600, 3200]), "{busy}");
            assert_eq!(waits(&busy, 19), millis(&[100, 200, 400, 800]), "{busy}");
            assert_eq!(waits(&busy, 20), []);
        }
        assert_eq!(waits(&answered(403, "AccessDenied"), 0), []);
        let lost = ApiError::answered("Call", Answer::default(), &std::fmt::Error);
        assert_eq!(waits(&lost, 0).len(), 6, "no answer came");
    }

    #[test]
    fn a_trail_waits_for_what_is_not_known_yet_and_for_nothing_else() {
        for code in ["InsufficientS3BucketPolicyException", "KmsKeyNotFoundException", "KmsKeyNotFound"] {
            let waits: Vec<_> = (0..).map_while(|tried| of_new_trail(&answered(400, code), tried)).collect();
            assert_eq!(waits.iter().sum::<Duration>(), Duration::from_millis(7500), "{code}");
        }
        assert_eq!(of_new_trail(&answered(400, "TrailAlreadyExistsException"), 0), None);
    }

    #[test]
    fn no_wait_reaches_to_the_end_of_what_is_left() {
        let waits = |spent| of_write(&answered(503, "SlowDown"), 0, Duration::from_millis(spent));
        assert_eq!((waits(19_899), waits(19_900)), (Some(Duration::from_millis(100)), None));
    }
}
