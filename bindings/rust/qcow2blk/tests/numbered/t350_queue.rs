//! Completions that wait to be fetched.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use qcow2blk::{Flags, Operation, Queue};

use crate::support::{
    errno_of, eventually, is_readable, plain, wait_readable, Folder, Outcome, CLUSTER, EAGAIN, EINVAL, MIB,
};

fn read(length: usize, offset: u64) -> Operation {
    Operation::Read { buffer: vec![0; length], offset }
}

#[test]
fn each_request_comes_back_once_with_its_token_and_buffer() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let queue = Queue::new(1000)?;
    for i in 0..1000_u64 {
        queue.submit(&image, read(512, i * 5000), i)?;
    }
    let mut seen = HashSet::new();
    while seen.len() < 1000 {
        for completion in queue.wait(100, None)? {
            assert_eq!(completion.result?, 512);
            assert!(completion.operation.into_buffer() == plain(completion.token * 5000, 512));
            assert!(seen.insert(completion.token));
        }
    }
    assert_eq!(queue.outstanding(), 0);
    queue.close()?;
    Ok(())
}

#[test]
fn descriptor_is_readable_while_completions_wait() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let queue = Queue::new(8)?;
    assert!(!is_readable(&queue));
    assert!(queue.wait(8, Some(Duration::ZERO))?.is_empty());
    for token in 0..2 {
        queue.submit(&image, read(512, 0), token)?;
    }
    eventually("both have ended", || image.in_flight().is_ok_and(|count| count == 0));
    wait_readable(&queue);
    assert_eq!(queue.wait(1, Some(Duration::ZERO))?.len(), 1);
    assert!(is_readable(&queue), "one still waits");
    assert_eq!(queue.wait(8, Some(Duration::ZERO))?.len(), 1);
    assert!(!is_readable(&queue));
    Ok(())
}

#[test]
fn wait_ends_when_its_time_is_over() -> Outcome {
    let _folder = Folder::new();
    let queue = Queue::<()>::new(8)?;
    let begin = Instant::now();
    assert!(queue.wait(8, Some(Duration::from_millis(50)))?.is_empty());
    assert!(begin.elapsed() >= Duration::from_millis(49), "{:?}", begin.elapsed());
    Ok(())
}

#[test]
fn full_queue_refuses_and_gives_everything_back() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let queue = Queue::new(2)?;
    queue.submit(&image, read(512, 0), "first")?;
    queue.submit(&image, read(512, 0), "second")?;
    let rejected = queue.submit(&image, read(512, CLUSTER), "third").expect_err("two are not fetched");
    assert_eq!(rejected.error.errno(), EAGAIN);
    assert_eq!((rejected.token, &rejected.operation), ("third", &read(512, CLUSTER)));
    assert_eq!(queue.outstanding(), 2);

    queue.wait(1, None)?;
    queue.submit(&image, rejected.operation, rejected.token)?;
    let mut tokens = vec![];
    while tokens.len() < 2 {
        tokens.extend(queue.wait(2, None)?.into_iter().map(|completion| completion.token));
    }
    assert!(tokens.contains(&"third"), "{tokens:?}");
    Ok(())
}

#[test]
fn refused_request_leaves_no_completion() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let queue = Queue::new(4)?;
    let rejected = queue.submit(&image, read(512, 64 * MIB), ()).expect_err("that is not on the disk");
    assert_eq!(rejected.error.errno(), EINVAL);
    assert!(queue.wait(4, Some(Duration::from_millis(20)))?.is_empty());
    Ok(())
}

#[test]
fn all_kinds_of_requests_end_in_a_queue() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let queue = Queue::new(16)?;
    let extents = vec![qcow2blk::Extent::default(); 4];
    let operations = [
        read(512, 0),
        Operation::Write { buffer: vec![1; 512], offset: 8 * MIB, flags: Flags::FUA },
        Operation::ReadVectored { buffers: vec![vec![0; 100]; 3], offset: 0 },
        Operation::WriteVectored { buffers: vec![vec![1; 100]; 3], offset: 9 * MIB, flags: Flags::NONE },
        Operation::Flush,
        Operation::Discard { offset: 2 * MIB, length: MIB, flags: Flags::NONE },
        Operation::WriteZeroes { offset: 3 * MIB, length: 1000, flags: Flags::NONE },
        Operation::BlockStatus { offset: 20 * MIB, length: MIB, extents },
    ];
    let expected = [512, 512, 300, 300, 0, 0, 0, 1];
    let count = operations.len();
    for (token, operation) in operations.into_iter().enumerate() {
        queue.submit(&image, operation, token)?;
    }
    let mut results = vec![usize::MAX; count];
    while results.contains(&usize::MAX) {
        for completion in queue.wait(3, None)? {
            results[completion.token] = completion.result?;
            if let Operation::BlockStatus { extents, .. } = &completion.operation {
                assert_eq!(extents.len(), 1);
                assert!(extents[0].is_hole() && extents[0].offset() == 20 * MIB);
            }
        }
    }
    assert_eq!(results, expected);
    Ok(())
}

#[test]
fn threads_and_images_share_a_queue() -> Outcome {
    let folder = Folder::new();
    let images = [folder.open("plain.qcow2"), folder.open("compressed.qcow2"), folder.open("zstd.qcow2")];
    let queue = Queue::new(65536)?;
    let fetched = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (i, image) in images.iter().enumerate() {
            let queue = &queue;
            scope.spawn(move || {
                for k in 0..500_u64 {
                    let offset = (k * 7 + i as u64) % 64 * CLUSTER;
                    queue.submit(image, read(64, offset), offset).expect("there is room");
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while fetched.load(Ordering::SeqCst) < 1500 {
                    let completions = queue.wait(10, Some(Duration::from_millis(20))).expect("it can wait");
                    for completion in &completions {
                        let Operation::Read { buffer, .. } = &completion.operation else { panic!("{completion:?}") };
                        assert!(*buffer == plain(completion.token, 64));
                    }
                    fetched.fetch_add(completions.len(), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(fetched.into_inner(), 1500);
    Ok(())
}

/// Whoever would free the buffers too early has the library write into memory that others use.
#[test]
fn dropping_a_queue_waits_for_its_requests() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("compressed.qcow2");
    let queue = Queue::new(1000)?;
    for i in 0..500 {
        queue.submit(&image, read(4096, i % 60 * CLUSTER), String::from("a token that has to be freed"))?;
    }
    drop(queue);
    assert_eq!(image.in_flight()?, 0);
    Ok(())
}

#[test]
fn depth_has_limits() {
    let _folder = Folder::new();
    assert_eq!(errno_of(Queue::<()>::new(0)), EINVAL);
    assert_eq!(errno_of(Queue::<()>::new(65537)), EINVAL);
}
