//! Tasks in virtual time: a call is a wait, and whoever's wait ends first goes on.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// In milliseconds since the history began.
pub type Time = u64;

pub const SECOND: Time = 1_000;
pub const MINUTE: Time = 60 * SECOND;

pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What time it is, and what waits for when.
#[derive(Default)]
pub(crate) struct Clock {
    now: Rc<Cell<Time>>,
    /// The task that is at work.
    current: Cell<usize>,
    order: Cell<u64>,
    timers: RefCell<BinaryHeap<Reverse<(Time, u64, usize)>>>,
    spawned: RefCell<Vec<Task>>,
}

impl Clock {
    /// The time for those who only read it.
    pub(crate) fn hand(&self) -> Rc<Cell<Time>> {
        Rc::clone(&self.now)
    }

    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    /// Begins a task beside the one that is at work.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Box::pin(task));
    }

    pub(crate) async fn sleep(&self, wait: Time) {
        let until = self.now() + wait;
        if wait > 0 {
            self.order.set(self.order.get() + 1);
            self.timers.borrow_mut().push(Reverse((until, self.order.get(), self.current.get())));
        }
        poll_fn(|_| if self.now() >= until { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Runs what was spawned, and what that spawns, until nothing waits any more.
    pub(crate) fn run(&self) {
        let mut tasks: Vec<Option<Task>> = Vec::new();
        let mut free = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = |place: usize, tasks: &mut Vec<Option<Task>>, free: &mut Vec<usize>| {
            self.current.set(place);
            if let Some(task) = &mut tasks[place]
                && task.as_mut().poll(&mut context).is_ready()
            {
                tasks[place] = None;
                free.push(place);
            }
        };
        loop {
            loop {
                let spawned = std::mem::take(&mut *self.spawned.borrow_mut());
                if spawned.is_empty() {
                    break;
                }
                for task in spawned {
                    let place = free.pop().unwrap_or(tasks.len());
                    if place == tasks.len() {
                        tasks.push(None);
                    }
                    tasks[place] = Some(task);
                    poll(place, &mut tasks, &mut free);
                }
            }
            let next = self.timers.borrow_mut().pop();
            match next {
                Some(Reverse((time, _, place))) => {
                    self.now.set(time);
                    poll(place, &mut tasks, &mut free);
                }
                None => break,
            }
        }
        // Tasks hold what holds this clock.
        drop(tasks);
        self.spawned.take();
        self.timers.take();
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Does the work until it ends or is stopped; the rest of it then never happens.
pub(crate) async fn unless<T, S>(stop: impl Future<Output = S>, work: impl Future<Output = T>) -> Result<T, S> {
    let (mut stop, mut work) = (pin!(stop), pin!(work));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => stop.as_mut().poll(context).map(Err),
    })
    .await
}
