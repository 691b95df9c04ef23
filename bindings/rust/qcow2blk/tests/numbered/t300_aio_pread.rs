//! Reads that nobody waits for, as futures.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use qcow2blk::{Operation, Request};

use crate::support::{block_on, errno_of, eventually, plain, Folder, Outcome, CLUSTER, EINVAL, MIB};

#[test]
fn future_gives_the_buffer_back_with_what_was_read() -> Outcome {
    let folder = Folder::new();
    for name in ["plain.qcow2", "compressed.qcow2"] {
        let image = folder.open(name);
        let (result, buffer) = block_on(image.read_async(vec![0; 100_000], CLUSTER - 5));
        assert_eq!(result?, 100_000);
        assert!(buffer == plain(CLUSTER - 5, 100_000), "{name}");
    }
    Ok(())
}

#[test]
fn thousands_can_be_in_flight() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let requests: Vec<_> = (0..4000).map(|i| (i, image.read_async(vec![0; 512], i % 70 * CLUSTER + i))).collect();
    block_on(async {
        for (i, request) in requests {
            let (result, buffer) = request.await;
            assert_eq!(result?, 512);
            assert!(buffer == plain(i % 70 * CLUSTER + i, 512), "request {i}");
        }
        assert_eq!(image.in_flight()?, 0);
        Ok(())
    })
}

#[test]
fn refused_request_gives_the_buffer_back() {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let (result, buffer) = block_on(image.read_async(vec![7; 512], 64 * MIB - 511));
    assert_eq!(errno_of(result), EINVAL);
    assert_eq!(buffer, [7; 512]);
}

#[test]
fn future_does_not_borrow_and_can_go_to_another_thread() -> Outcome {
    fn assert_free<T: Send + Unpin + 'static>(_: &T) {}
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let request = image.read_async(vec![0; 512], 3 * CLUSTER);
    assert_free(&request);
    let (result, buffer) = std::thread::spawn(move || block_on(request)).join().expect("no panic");
    assert_eq!(result?, 512);
    assert_eq!(buffer, [4; 512]);
    image.close()?;
    Ok(())
}

/// Whoever would free the buffers too early has the library write into memory that others use.
#[test]
fn dropped_futures_leave_their_buffers_to_the_library() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("compressed.qcow2");
    let mut others: Vec<Vec<u8>> = vec![];
    for i in 0..1000 {
        drop(image.read_async(vec![0; 4096], i % 60 * CLUSTER));
        others.push(vec![0xee; 4096]);
    }
    eventually("all requests end", || image.in_flight().is_ok_and(|count| count == 0));
    assert!(others.iter().flatten().all(|byte| *byte == 0xee));
    image.close()?;
    Ok(())
}

struct Counter(AtomicU32);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn only_the_last_waker_is_woken_and_only_once() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("compressed.qcow2");
    for round in 0..50 {
        let counters = [0, 1].map(|_| Arc::new(Counter(AtomicU32::new(0))));
        let mut request = image.read_async(vec![0; CLUSTER as usize], round * CLUSTER);
        let mut polls = counters.iter().map(|counter| {
            Pin::new(&mut request).poll(&mut Context::from_waker(&Waker::from(Arc::clone(counter)))).is_ready()
        });
        // It may have ended before one of them was there.
        if polls.any(|is_ready| is_ready) {
            continue;
        }
        eventually("a waker is woken", || counters.iter().any(|counter| counter.0.load(Ordering::SeqCst) > 0));
        let woken = counters.each_ref().map(|counter| counter.0.load(Ordering::SeqCst));
        assert_eq!(woken, [0, 1]);
        let poll = Pin::new(&mut request).poll(&mut Context::from_waker(&Waker::from(Arc::clone(&counters[1]))));
        assert!(matches!(poll, Poll::Ready((Ok(_), _))));
        assert_eq!(counters[1].0.load(Ordering::SeqCst), 1);
    }
    Ok(())
}

#[test]
fn any_operation_can_be_started() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let request: Request<(qcow2blk::Result<usize>, Operation)> =
        image.start(Operation::Read { buffer: vec![0; 10], offset: CLUSTER });
    let (result, operation) = block_on(request);
    assert_eq!(result?, 10);
    assert_eq!(operation, Operation::Read { buffer: vec![2; 10], offset: CLUSTER });
    Ok(())
}
