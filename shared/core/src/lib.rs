//! Values in, values out: what a bucket's baseline is, what to do about drift, and what people are told.
//!
//! There is no AWS SDK here, no clock, no random, no environment: whoever calls passes in what they say. Each floor uses
//! those before it alone.

pub mod value;

pub mod control;

pub mod outcome;

pub mod edge;

pub mod decide;

pub mod tell;
