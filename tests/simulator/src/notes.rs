//! What happened, in order: for the digest, in words, and for the picture.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use guardrail_core::control::table::Control;

use crate::{
    clock::{MINUTE, SECOND, Time},
    world::Writer,
};

/// Something that happened.
#[derive(Clone, Debug, Hash)]
pub struct Note {
    pub at: Time,
    pub bucket: usize,
    pub what: What,
}

/// What it was. `by`: the number of an invocation.
#[derive(Clone, Debug, Hash)]
pub enum What {
    /// Somebody changes a setting; the number is its event's.
    Called {
        writer: Writer,
        control: Control,
        drifts: bool,
        event: usize,
    },
    /// Each call of the bucket takes seconds.
    Slowed {
        until: Time,
    },
    Exempted {
        control: Control,
        until: Time,
    },
    Lost {
        event: usize,
    },
    Late {
        event: usize,
        wait: Time,
    },
    Doubled {
        event: usize,
    },
    /// An event is in the queue.
    Arrived {
        event: usize,
    },
    Swept,
    /// An invocation takes messages: their events, and how many are requests of the sweep's.
    Invoked {
        by: usize,
        events: Vec<usize>,
        requests: usize,
    },
    NotBegun {
        message: usize,
    },
    /// A look begins, at this generation.
    Looked {
        by: usize,
        generation: u8,
    },
    Read {
        by: usize,
        control: Control,
        shows: Shows,
        stale: bool,
    },
    Waited {
        by: usize,
        wait: Time,
    },
    Restored {
        by: usize,
        control: Control,
        event: usize,
    },
    Refused {
        by: usize,
        control: Control,
        code: &'static str,
    },
    /// The write was done, and no answer came.
    Unanswered {
        by: usize,
        control: Control,
    },
    Told {
        by: usize,
        control: Control,
        outcome: &'static str,
    },
    Unpublished {
        by: usize,
    },
    Intends {
        by: usize,
        controls: usize,
    },
    NoLedger {
        by: usize,
    },
    Ended {
        by: usize,
        end: &'static str,
    },
    /// A message goes back, or is deleted.
    Back {
        by: usize,
        message: usize,
        wait: Time,
    },
    Deleted {
        by: usize,
        message: usize,
    },
    Dead {
        message: usize,
    },
    /// An invocation's clock is fast by so many milliseconds.
    Skewed {
        by: usize,
        skew: i64,
    },
    Attempted {
        control: Control,
        event: usize,
    },
    Redeployed,
    /// Somebody writes or deletes a parameter of the guardrail's.
    Parameter {
        writer: Writer,
        parameter: String,
        event: usize,
    },
    /// A call of an invocation's, and what came of it.
    Answered {
        by: usize,
        call: String,
        answer: String,
    },
    Violated {
        what: String,
    },
}

/// What a read shows of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shows {
    Good,
    Drift,
    Denied,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "an owner",
            Self::Robot => "Terraform",
            Self::Tool => "a second tool",
            Self::Insider => "an insider",
            Self::Operator => "an operator",
            Self::Guardrail => "the guardrail",
        })
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |wait: &Time| *wait as f64 / SECOND as f64;
        match self {
            Self::Called { writer, control, drifts, event } => {
                let how = if *drifts { "takes it off its baseline" } else { "keeps it at its baseline" };
                write!(f, "{writer} writes {control} and {how} (event {event})")
            }
            Self::Exempted { control, until } => {
                write!(f, "an operator exempts {control} for {} s", until / SECOND)
            }
            Self::Slowed { until } => write!(f, "S3 is slow until minute {}", until / MINUTE),
            Self::Lost { event } => write!(f, "event {event} is lost"),
            Self::Late { event, wait } => write!(f, "event {event} will be {:.0} s late", seconds(wait)),
            Self::Doubled { event } => write!(f, "event {event} comes twice"),
            Self::Arrived { event } => write!(f, "event {event} is in the queue"),
            Self::Swept => f.write_str("the sweep sends a request"),
            Self::Invoked { by, events, requests } => {
                write!(f, "invocation {by} takes")?;
                for event in events {
                    write!(f, " event {event}")?;
                }
                if *requests > 0 {
                    write!(f, " {requests} request(s) of the sweep")?;
                }
                Ok(())
            }
            Self::NotBegun { message } => write!(f, "message {message} is received, and no function begins"),
            Self::Looked { by, generation } => write!(f, "invocation {by} looks, generation {generation}"),
            Self::Read { by, control, shows, stale } => {
                let shown = match shows {
                    Shows::Good => "as it should be",
                    Shows::Drift => "drifted",
                    Shows::Denied => "denied",
                };
                write!(f, "invocation {by} reads {control}: {shown}{}", if *stale { ", an older version" } else { "" })
            }
            Self::Waited { by, wait } => write!(f, "invocation {by} waits {:.1} s to read again", seconds(wait)),
            Self::Restored { by, control, event } => write!(f, "invocation {by} restores {control} (event {event})"),
            Self::Refused { by, control, code } => write!(f, "invocation {by} may not write {control}: {code}"),
            Self::Unanswered { by, control } => write!(f, "invocation {by} hears nothing of its write of {control}"),
            Self::Told { by, control, outcome } => write!(f, "invocation {by} tells people: {control} {outcome}"),
            Self::Intends { by, controls } => {
                write!(f, "invocation {by} notes that it will write {controls} control(s)")
            }
            Self::NoLedger { by } => write!(f, "invocation {by} hears nothing of the ledger"),
            Self::Unpublished { by } => write!(f, "invocation {by} cannot tell people"),
            Self::Ended { by, end } => write!(f, "invocation {by} {end}"),
            Self::Back { by, message, wait } => {
                write!(f, "invocation {by} gives message {message} back for {} s", wait / SECOND)
            }
            Self::Deleted { by, message } => write!(f, "invocation {by} deletes message {message}"),
            Self::Dead { message } => write!(f, "message {message} is a dead letter"),
            Self::Skewed { by, skew } => write!(f, "the clock of invocation {by} is fast by {skew} ms"),
            Self::Attempted { control, event } => {
                write!(f, "an insider tries to write {control} and may not (event {event})")
            }
            Self::Parameter { writer, parameter, event } => write!(f, "{writer} changes {parameter} (event {event})"),
            Self::Redeployed => f.write_str("all functions are replaced"),
            Self::Answered { by, call, answer } => write!(f, "invocation {by} calls {call}: {answer}"),
            Self::Violated { what } => write!(f, "VIOLATED: {what}"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.at % MINUTE) as f64 / SECOND as f64;
        write!(f, "{:>3}:{seconds:06.3} bucket {}: {}", self.at / MINUTE, self.bucket, self.what)
    }
}

impl Note {
    /// Whether a short history says it: of what is read, only what is not as it should be.
    pub fn is_worth_words(&self) -> bool {
        match &self.what {
            What::Read { shows: Shows::Good, stale: false, .. } => false,
            What::Answered { answer, .. } => !matches!(answer.as_str(), "200" | "204" | "404"),
            _ => true,
        }
    }
}

/// A hash that is the same everywhere. <http://www.isthe.com/chongo/tech/comp/fnv/>
#[derive(Debug)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

/// All notes of a history: their digest, and themselves if they are asked for.
#[derive(Debug, Default)]
pub struct Notes {
    digest: Digest,
    pub count: usize,
    pub kept: Option<Vec<Note>>,
}

impl Notes {
    /// None yet. `is_kept`: not only their digest.
    pub fn new(is_kept: bool) -> Self {
        Self { kept: is_kept.then(Vec::new), ..Self::default() }
    }

    /// The same for the same that happened.
    pub fn digest(&self) -> u64 {
        self.digest.0
    }

    pub fn add(&mut self, note: Note) {
        self.count += 1;
        note.hash(&mut self.digest);
        if let Some(kept) = &mut self.kept {
            kept.push(note);
        }
    }
}
