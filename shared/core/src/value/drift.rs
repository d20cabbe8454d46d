//! What is and what should be.

/// What is and what should be; never equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift<Is, Should = Is> {
    pub observed: Is,
    pub desired: Should,
}

/// The drift from what should be, if any.
pub fn drift<T: PartialEq>(observed: T, desired: T) -> Option<Drift<T>> {
    (observed != desired).then_some(Drift { observed, desired })
}

/// The drift from what `desired` makes of what is, if any.
pub fn drift_to<T: PartialEq>(observed: T, desired: impl FnOnce(&T) -> T) -> Option<Drift<T>> {
    let desired = desired(&observed);
    drift(observed, desired)
}
