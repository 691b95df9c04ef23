//! What is in flight when an image is closed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use qcow2blk::{Image, LocalImage, Operation, Queue};

use crate::support::{block_on, Folder, Outcome, CLUSTER, ECANCELED};

fn read(length: usize, offset: u64) -> Operation {
    Operation::Read { buffer: vec![0; length], offset }
}

fn assert_ended_or_cancelled(result: &qcow2blk::Result<usize>) {
    match result {
        Ok(count) => assert_eq!(*count, CLUSTER as usize),
        Err(error) => assert_eq!(error.errno(), ECANCELED, "{error}"),
    }
}

#[test]
fn every_closure_is_called_once_before_close_returns() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("compressed.qcow2");
    let image = Image::open(&path)?;
    let calls: Arc<Vec<AtomicU32>> = Arc::new((0..1000).map(|_| AtomicU32::new(0)).collect());
    for i in 0..1000 {
        let calls = Arc::clone(&calls);
        image.submit(read(CLUSTER as usize, i % 64 * CLUSTER), move |result, _| {
            assert_ended_or_cancelled(&result);
            calls[i as usize].fetch_add(1, Ordering::SeqCst);
        })?;
    }
    image.close()?;
    assert!(calls.iter().all(|count| count.load(Ordering::SeqCst) == 1));
    Image::open(&path)?.close()?;
    Ok(())
}

#[test]
fn futures_end_with_the_image() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("compressed.qcow2");
    let requests: Vec<_> = (0..500).map(|i| image.read_async(vec![0; CLUSTER as usize], i % 64 * CLUSTER)).collect();
    drop(image);
    for request in requests {
        let (result, buffer) = block_on(request);
        assert_ended_or_cancelled(&result);
        assert_eq!(buffer.len(), CLUSTER as usize);
    }
    Ok(())
}

#[test]
fn queue_gets_the_completions_of_a_closed_image() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("compressed.qcow2");
    let queue = Queue::new(600)?;
    for i in 0..500_u64 {
        queue.submit(&image, read(CLUSTER as usize, i % 64 * CLUSTER), i)?;
    }
    image.close()?;
    let mut tokens = vec![];
    while tokens.len() < 500 {
        let completions = queue.wait(64, Some(std::time::Duration::ZERO))?;
        assert!(!completions.is_empty(), "{} are missing", 500 - tokens.len());
        for completion in completions {
            assert_ended_or_cancelled(&completion.result);
            tokens.push(completion.token);
        }
    }
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..500));
    Ok(())
}

#[test]
fn image_without_a_thread_ends_its_requests_too() -> Outcome {
    let folder = Folder::new();
    let image = LocalImage::open(folder.copy("compressed.qcow2"))?;
    let calls = std::rc::Rc::new(std::cell::Cell::new(0));
    for i in 0..100 {
        let calls = std::rc::Rc::clone(&calls);
        image.submit(read(CLUSTER as usize, i % 64 * CLUSTER), move |result, _| {
            assert_ended_or_cancelled(&result);
            calls.set(calls.get() + 1);
        })?;
    }
    image.close()?;
    assert_eq!(calls.get(), 100);
    Ok(())
}

/// What was written before the close is there, whether or not its request was told of.
#[test]
fn writes_that_have_ended_are_kept() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    let writes: Vec<_> = (0..200).map(|i| image.write_async(vec![0x31; CLUSTER as usize], i * CLUSTER)).collect();
    image.close()?;
    let image = Image::open(&path)?;
    for (i, write) in writes.into_iter().enumerate() {
        let (result, written) = block_on(write);
        assert_ended_or_cancelled(&result);
        let mut buffer = vec![0; CLUSTER as usize];
        image.read_at(&mut buffer, i as u64 * CLUSTER)?;
        assert!(result.is_err() || buffer == written, "write {i}");
    }
    Ok(())
}
