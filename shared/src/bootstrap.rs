//! Builds the secure baseline of one bucket, and registers it.
