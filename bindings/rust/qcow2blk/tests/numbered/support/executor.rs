//! The smallest executor: a thread that sleeps until it is woken.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

struct Bell(Mutex<Sender<()>>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more if the future has ended.
        let _ = self.0.lock().expect("no panic").send(());
    }
}

/// Polls only when woken: a future that forgets to wake makes the test fail.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let (sender, woken) = channel();
    let waker = Waker::from(Arc::new(Bell(Mutex::new(sender))));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        woken.recv_timeout(Duration::from_secs(20)).expect("the future is woken within 20 seconds");
    }
}
