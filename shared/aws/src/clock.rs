//! Where time and chance come from: the one place, so that a simulation can turn them. What waits does so by tokio's clock,
//! which can be paused.

use jiff::Timestamp;

/// A clock, and a source of chance.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub now: fn() -> Timestamp,
    pub random: fn() -> u64,
}

impl Clock {
    /// The machine's.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads them")]
    pub fn of_this_machine() -> Self {
        Self { now: Timestamp::now, random: || fastrand::u64(..) }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Any number.
    pub fn random(&self) -> u64 {
        (self.random)()
    }

    /// Something between half of `wait` and one and a half of it, so that those who wait together do not come together.
    pub fn about(&self, wait: std::time::Duration) -> std::time::Duration {
        // 32 bits, which a float holds exactly.
        wait.mul_f64(0.5 + f64::from((self.random() >> 32) as u32) / f64::from(u32::MAX))
    }
}
