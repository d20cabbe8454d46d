//! Fault matrices: every call of every flow goes wrong in every way, once and for good.

use std::{fmt::Write, sync::Mutex, time::Duration};

use tokio::sync::Semaphore;

use crate::fake::FaultKind;

/// How long the SDK waits for an answer here. The fake divides by a hundred.
pub const PATIENCE: Duration = Duration::from_secs(200);

/// What each kind of fault is called in a table. "slow" is slower than the SDK waits: done, and not known to be.
pub fn faults() -> [(&'static str, FaultKind); 10] {
    [
        ("500", FaultKind::Answer(500, "InternalError")),
        ("503", FaultKind::Answer(503, "SlowDown")),
        ("409", FaultKind::Answer(409, "OperationAborted")),
        ("403", FaultKind::Answer(403, "AccessDenied")),
        ("timeout", FaultKind::Timeout),
        ("reset", FaultKind::Reset),
        ("cut", FaultKind::Truncated),
        ("garbage", FaultKind::Malformed),
        ("slow", FaultKind::Slow),
        ("stale", FaultKind::Lagging(2)),
    ]
}

/// One row of a table: a call of a flow.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which of the flows.
    pub flow: usize,
    /// What it is called.
    pub name: String,
    /// The operation that goes wrong.
    pub call: String,
}

/// The outcome in one word, or what is wrong.
pub type Cell = Result<&'static str, String>;

/// Runs all cells, some at a time: most of their time they wait. Each is given its row, its fault and how often it
/// strikes.
///
/// # Panics
///
/// When one of the cells is not as it should be; with the table, and all that is wrong.
pub fn table(rows: &[Row], cell: impl AsyncFn(&Row, &FaultKind, usize) -> Cell + Sync) -> String {
    const THREADS: usize = 2;
    const AT_ONCE: usize = 24;
    let cells: Vec<_> = rows.iter().flat_map(|row| faults().map(|fault| (row, fault))).collect();
    let done = Mutex::new(vec![None; cells.len()]);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cells, done, cell) = (&cells, &done, &cell);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
                let permits = Semaphore::new(AT_ONCE);
                let work =
                    cells.iter().enumerate().skip(thread).step_by(THREADS).map(async |(place, (row, (_, kind)))| {
                        let _permit = permits.acquire().await.expect("nobody closes it");
                        let both = [cell(row, kind, 1).await, cell(row, kind, usize::MAX).await];
                        done.lock().expect("nobody panics with it")[place] = Some(both);
                    });
                let all = futures_util::future::join_all(work.map(Box::pin));
                runtime.expect("a runtime").block_on(all);
            });
        }
    });
    let done: Vec<[Cell; 2]> = done
        .into_inner()
        .expect("nobody panics with it")
        .into_iter()
        .map(|it| it.expect("every cell was run"))
        .collect();

    let title = |row: &Row| format!("{}: {}", row.name, row.call);
    let width = rows.iter().map(|it| title(it).len()).max().unwrap_or_default() + 2;
    let mut table = format!("{:<width$}", "");
    let mut wrong = String::new();
    for (name, _) in faults() {
        let _ = write!(table, "{name:<12}");
    }
    for (row, cells) in rows.iter().zip(done.chunks(faults().len())) {
        let title = title(row);
        let _ = write!(table, "\n{title:<width$}");
        for (both, (fault, _)) in cells.iter().zip(faults()) {
            let [once, for_good] = both.each_ref().map(|it| it.as_ref().copied().unwrap_or("WRONG"));
            let cell = if once == for_good { once.to_owned() } else { format!("{once}/{for_good}") };
            let _ = write!(table, "{cell:<12}");
            for problem in both.iter().filter_map(|it| it.as_ref().err()) {
                let _ = writeln!(wrong, "{title}: {fault}: {problem}");
            }
        }
    }
    let table = table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{table}\n{wrong}");
    table
}

/// Fails unless they are the same.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Result<(), String> {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:#?} should be {should:#?}")) }
}

/// Fails, and says so, unless it is.
pub fn holds(what: impl std::fmt::Display, is: bool) -> Result<(), String> {
    if is { Ok(()) } else { Err(what.to_string()) }
}
