//! The jobs, one file or folder each: they look, have it decided, and do it. Never a decision of their own.

mod batch;
pub mod bootstrap;
pub mod handle;
mod look;
pub mod own_key;
pub mod page;
pub mod reconcile;
pub mod remediate;
mod shared;
pub mod sweep;
mod telling;
pub mod verify;
pub mod watch;
