//! Requests that a closure is told of.

use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use qcow2blk::{Image, Operation, Queue};

use crate::support::{errno_of, eventually, Folder, Outcome, CLUSTER, EDEADLK, EINVAL, MIB};

const LONG: Duration = Duration::from_secs(20);

fn read(length: usize, offset: u64) -> Operation {
    Operation::Read { buffer: vec![0; length], offset }
}

#[test]
fn closure_gets_result_and_buffer_on_another_thread() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let (sender, receiver) = channel();
    image.submit(read(512, CLUSTER), move |result, operation| {
        sender.send((result, operation.into_buffer(), thread::current().id())).expect("the test waits");
    })?;
    let (result, buffer, thread) = receiver.recv_timeout(LONG)?;
    assert_eq!(result?, 512);
    assert_eq!(buffer, [2; 512]);
    assert_ne!(thread, thread::current().id());
    Ok(())
}

#[test]
fn closure_can_begin_other_requests() -> Outcome {
    fn step(image: Arc<Image>, cluster: u64, done: std::sync::mpsc::Sender<u64>) {
        let next = Arc::clone(&image);
        let end = move |result: qcow2blk::Result<usize>, operation: Operation| {
            result.expect("it is read");
            assert_eq!(operation.into_buffer(), [cluster as u8 + 1; 64]);
            if cluster == 63 {
                done.send(cluster).expect("the test waits");
            } else {
                step(next, cluster + 1, done);
            }
        };
        image.submit(read(64, cluster * CLUSTER), end).expect("it is accepted");
    }
    let folder = Folder::new();
    let (sender, receiver) = channel();
    step(Arc::new(folder.open("plain.qcow2")), 0, sender);
    assert_eq!(receiver.recv_timeout(LONG)?, 63);
    Ok(())
}

#[test]
fn closure_cannot_wait_for_its_image() -> Outcome {
    let folder = Folder::new();
    let image = Arc::new(folder.open("plain.qcow2"));
    let (sender, receiver) = channel();
    let inner = Arc::clone(&image);
    image.submit(read(512, 0), move |_, _| {
        let errnos = [
            errno_of(inner.read_at(&mut [0; 512], 0)),
            errno_of(inner.write_at(&[0; 512], 0)),
            errno_of(inner.flush()),
            errno_of(inner.discard(0, CLUSTER)),
            errno_of(inner.write_zeroes(0, CLUSTER)),
            errno_of(inner.block_status(0, CLUSTER)),
            errno_of(inner.info()),
            errno_of(inner.snapshots()),
        ];
        sender.send((errnos, inner.size())).expect("the test waits");
    })?;
    let (errnos, size) = receiver.recv_timeout(LONG)?;
    assert_eq!(errnos, [EDEADLK; 8]);
    assert_eq!(size?, 64 * MIB, "what need not wait works");
    Ok(())
}

#[test]
fn panic_of_a_closure_ends_nothing_else() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    image.submit(read(512, 0), |_, _| panic!("this panic is part of the test"))?;
    let (sender, receiver) = channel();
    image.submit(read(512, 0), move |result, _| sender.send(result).expect("the test waits"))?;
    assert_eq!(receiver.recv_timeout(LONG)??, 512);
    image.close()?;
    Ok(())
}

#[test]
fn refused_request_never_calls_the_closure() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let (sender, receiver) = channel();
    let rejected = image
        .submit(read(512, 64 * MIB), move |_, _| sender.send(()).expect("the test waits"))
        .expect_err("that is not on the disk");
    assert_eq!(rejected.error.errno(), EINVAL);
    assert_eq!(rejected.operation, read(512, 64 * MIB));
    image.close()?;
    receiver.try_recv().expect_err("the closure is gone, and was not called");
    Ok(())
}

/// Nobody can wait for an image inside its own closure: another thread closes it.
#[test]
fn image_that_is_dropped_by_its_closure_is_closed() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Arc::new(Image::open(&path)?);
    let (sender, receiver) = channel::<()>();
    let last = Arc::clone(&image);
    image.submit(read(512, 0), move |_, _| {
        receiver.recv().expect("the test tells when its own is gone");
        drop(last);
    })?;
    drop(image);
    sender.send(())?;
    eventually("the image is free again", || Image::open(&path).is_ok());
    Ok(())
}

#[test]
fn queue_that_is_dropped_by_a_closure_ends_after_its_requests() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("compressed.qcow2");
    let queue = Arc::new(Queue::new(200)?);
    let token = Arc::new(());
    let (sender, receiver) = channel::<()>();
    let last = Arc::clone(&queue);
    image.submit(read(512, 0), move |_, _| {
        receiver.recv().expect("the test tells when its own is gone");
        drop(last);
    })?;
    for i in 0..100 {
        queue.submit(&image, read(CLUSTER as usize, i % 64 * CLUSTER), Arc::clone(&token))?;
    }
    drop(queue);
    sender.send(())?;
    eventually("all tokens are dropped", || Arc::strong_count(&token) == 1);
    Ok(())
}

#[test]
fn close_from_a_closure_tells_that_it_cannot_wait() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Arc::new(std::sync::Mutex::new(Some(Image::open(&path)?)));
    let (sender, receiver) = channel();
    let inner = Arc::clone(&image);
    let submit = |image: &Image| {
        image.submit(read(512, 0), move |_, _| {
            let image = inner.lock().expect("no panic").take().expect("it is open");
            sender.send(image.close()).expect("the test waits");
        })
    };
    submit(image.lock().expect("no panic").as_ref().expect("it is open"))?;
    assert_eq!(errno_of(receiver.recv_timeout(LONG)?), EDEADLK);
    eventually("the image is free again", || Image::open(&path).is_ok());
    Ok(())
}
