//! A request as a future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::disk::Disk;
use crate::error::Result;
use crate::operation::Operation;

/// A request that has begun, as a future that tells of its end.
///
/// It needs no runtime of a certain kind, and does not borrow the image. It may be dropped: the request goes on, and
/// the buffers are kept until it has ended.
#[must_use = "the request goes on, but nobody learns whether it failed"]
pub struct Request<O> {
    state: Arc<Mutex<State>>,
    finish: fn(Result<usize>, Operation) -> O,
}

#[derive(Default)]
struct State {
    outcome: Option<(Result<usize>, Operation)>,
    waker: Option<Waker>,
}

impl<O> Request<O> {
    pub(crate) fn begin(disk: &Disk, operation: Operation, finish: fn(Result<usize>, Operation) -> O) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let ending = Arc::clone(&state);
        let end = move |result, operation| {
            let waker = {
                let mut state = lock(&ending);
                state.outcome = Some((result, operation));
                state.waker.take()
            };
            // Not under the lock: who is woken may look at once.
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        if let Err(rejected) = disk.submit(operation, end) {
            lock(&state).outcome = Some((Err(rejected.error), rejected.operation));
        }
        Self { state, finish }
    }
}

impl<O> Future for Request<O> {
    type Output = O;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<O> {
        let mut state = lock(&self.state);
        match state.outcome.take() {
            Some((result, operation)) => Poll::Ready((self.finish)(result, operation)),
            None => {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl<O> fmt::Debug for Request<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("has_ended", &lock(&self.state).outcome.is_some()).finish()
    }
}

/// Nothing in between can leave the state half changed.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
