//! Eight threads with mixed requests on one image, against a model of what it has to hold.

use qcow2blk::{Completion, Flags, Image, Operation, Queue};

use crate::support::{block_on, qemu_img, Folder, Numbers, Outcome, CLUSTER, KIB};

const THREADS: u64 = 8;
const CLUSTERS_OF_A_THREAD: u64 = 24;
const ROUNDS: u64 = 400;

/// The clusters of one thread, which lie between those of the others, and what has to be in them.
struct Share {
    thread: u64,
    clusters: Vec<Vec<u8>>,
}

impl Share {
    fn new(thread: u64) -> Self {
        Self { thread, clusters: vec![vec![0; CLUSTER as usize]; CLUSTERS_OF_A_THREAD as usize] }
    }

    fn offset(&self, cluster: usize) -> u64 {
        (cluster as u64 * THREADS + self.thread) * CLUSTER
    }

    /// A range inside one cluster: which, where in it, how long.
    fn range(numbers: &mut Numbers) -> (usize, usize, usize) {
        let start = numbers.below(CLUSTER);
        let length = 1 + numbers.below((CLUSTER - start).min(20 * KIB));
        (numbers.below(CLUSTERS_OF_A_THREAD) as usize, start as usize, length as usize)
    }

    fn step(&mut self, image: &Image, numbers: &mut Numbers, byte: u8) -> qcow2blk::Result<()> {
        let (cluster, start, length) = Self::range(numbers);
        let (begin, end) = (self.offset(cluster), start + length);
        let at = begin + start as u64;
        match numbers.below(12) {
            0..=1 => {
                let flags = if numbers.below(10) == 0 { Flags::FUA } else { Flags::NONE };
                image.write_at_with(&vec![byte; length], at, flags)?;
                self.clusters[cluster][start..end].fill(byte);
            }
            2..=3 => {
                block_on(image.write_async(vec![byte; length], at)).0?;
                self.clusters[cluster][start..end].fill(byte);
            }
            4..=5 => {
                let mut buffer = vec![!byte; length];
                image.read_at(&mut buffer, at)?;
                assert!(buffer == self.clusters[cluster][start..end], "{length} bytes at {at}");
            }
            6..=7 => {
                let (result, buffer) = block_on(image.read_async(vec![!byte; length], at));
                result?;
                assert!(buffer == self.clusters[cluster][start..end], "{length} bytes at {at}");
            }
            8 => {
                image.write_zeroes(at, length as u64)?;
                self.clusters[cluster][start..end].fill(0);
            }
            9 => {
                block_on(image.discard_async(begin, CLUSTER))?;
                self.clusters[cluster].fill(0);
            }
            10 => image.flush()?,
            _ => {
                // That it reads as zeroes is a promise; that it does not is none.
                for extent in image.block_status(at, length as u64)?.iter().filter(|extent| extent.is_zero()) {
                    let from = (extent.offset() - begin) as usize;
                    let range = from..from + extent.length() as usize;
                    assert!(self.clusters[cluster][range].iter().all(|byte| *byte == 0), "{extent:?}");
                }
            }
        }
        Ok(())
    }

    fn assert_holds(&self, image: &Image) -> qcow2blk::Result<()> {
        let mut buffer = vec![0; CLUSTER as usize];
        for (cluster, expected) in self.clusters.iter().enumerate() {
            image.read_at(&mut buffer, self.offset(cluster))?;
            assert!(buffer == *expected, "cluster {cluster} of thread {}", self.thread);
        }
        Ok(())
    }
}

#[test]
fn mixed_requests_of_eight_threads_leave_what_they_wrote() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    let shares = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let image = &image;
                scope.spawn(move || {
                    let (mut share, mut numbers) = (Share::new(thread), Numbers::new(thread + 7));
                    for round in 0..ROUNDS {
                        share.step(image, &mut numbers, (round as u8) | 1)?;
                    }
                    share.assert_holds(image).map(|()| share)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<qcow2blk::Result<Vec<_>>>()
    })?;
    image.close()?;
    qemu_img(&["check", path.to_str().expect("it is UTF-8")]);
    let image = Image::open(&path)?;
    for share in &shares {
        share.assert_holds(&image)?;
    }
    Ok(())
}

#[test]
fn one_thread_fetches_what_eight_have_begun() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    let queue = Queue::new(8192)?;
    let written = |token: u64| token as u8 | 1;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (image, queue) = (&image, &queue);
            scope.spawn(move || {
                for i in 0..200 {
                    let token = i * THREADS + thread;
                    let buffer = vec![written(token); 4096];
                    let write = Operation::Write { buffer, offset: token * 20_000, flags: Flags::NONE };
                    queue.submit(image, write, token).expect("there is room");
                }
            });
        }
        let mut left = 200 * THREADS;
        while left > 0 {
            for Completion { result, .. } in queue.wait(64, None).expect("it can wait") {
                assert_eq!(result.expect("it is written"), 4096);
                left -= 1;
            }
        }
    });
    for token in 0..200 * THREADS {
        let mut buffer = [0; 4096];
        image.read_at(&mut buffer, token * 20_000)?;
        assert_eq!(buffer, [written(token); 4096], "write {token}");
    }
    Ok(())
}

#[test]
fn what_threads_share_is_send_and_sync() {
    fn assert_shared<T: Send + Sync + 'static>() {}
    assert_shared::<Image>();
    assert_shared::<Queue<Vec<u8>>>();
    assert_shared::<qcow2blk::Device>();
    assert_shared::<qcow2blk::Options>();
    assert_shared::<qcow2blk::Error>();
}
