//! An image without a thread of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;

use qcow2blk::{Image, LocalImage, Operation, Options};
use qcow2blk_sys::{qcow2blk_image_fd, qcow2blk_image_pread, qcow2blk_image_process, qcow2blk_image_size};

use crate::support::{
    assert_pattern, block_on, errno_of, is_readable, plain, wait_readable, Folder, Outcome, CLUSTER, EBUSY, EDEADLK,
    EINVAL, EPERM, EROFS, MIB,
};
use crate::t900_misuse::raw_open;

fn read(length: usize, offset: u64) -> Operation {
    Operation::Read { buffer: vec![0; length], offset }
}

/// Drives an image until nothing is in flight, as an event loop would.
fn drive(image: &LocalImage) -> qcow2blk::Result<usize> {
    let mut ended = image.process()?;
    while image.in_flight()? > 0 {
        wait_readable(image);
        ended += image.process()?;
    }
    Ok(ended)
}

#[test]
fn requests_that_are_waited_for_need_no_loop() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("compressed.qcow2");
    let image = LocalImage::open(&path)?;
    let mut buffer = vec![0; 300_000];
    image.read_at(&mut buffer, 5)?;
    assert!(buffer == plain(5, 300_000));
    image.write_at(&[0x88; 70_000], 10 * MIB)?;
    image.write_zeroes(0, 100)?;
    image.flush()?;
    assert_eq!(image.size()?, 64 * MIB);
    image.close()?;
    assert_pattern(&path, 0x88, 10 * MIB, 70_000);
    assert_pattern(&path, 0, 0, 100);
    Ok(())
}

#[test]
fn closures_run_on_this_thread_inside_process() -> Outcome {
    let folder = Folder::new();
    let image = LocalImage::open(folder.copy("plain.qcow2"))?;
    let results = Rc::new(RefCell::new(vec![]));
    for i in 0..100 {
        let results = Rc::clone(&results);
        let me = thread::current().id();
        image.submit(read(512, i * CLUSTER), move |result, operation| {
            assert_eq!(thread::current().id(), me);
            results.borrow_mut().push((i, result, operation.into_buffer()));
        })?;
    }
    assert!(results.borrow().is_empty(), "nothing ends inside submit");
    assert_eq!(drive(&image)?, 100);
    let mut results = results.take();
    results.sort_by_key(|(i, ..)| *i);
    assert_eq!(results.len(), 100);
    for (i, result, buffer) in results {
        assert_eq!(result?, 512);
        assert!(buffer == plain(i * CLUSTER, 512));
    }
    Ok(())
}

#[test]
fn descriptor_is_quiet_when_there_is_nothing_to_do() -> Outcome {
    let folder = Folder::new();
    let image = LocalImage::open(folder.copy("compressed.qcow2"))?;
    image.process()?;
    assert!(!is_readable(&image));
    image.submit(read(CLUSTER as usize, 0), |_, _| ())?;
    drive(&image)?;
    assert_eq!(image.process()?, 0);
    assert!(!is_readable(&image));
    Ok(())
}

#[test]
fn futures_end_inside_process() -> Outcome {
    let folder = Folder::new();
    let image = LocalImage::open(folder.copy("plain.qcow2"))?;
    let (write, read) = (image.write_async(vec![7; 4096], 20 * MIB), image.read_async(vec![0; 4096], CLUSTER));
    assert_eq!(drive(&image)?, 2);
    assert_eq!(block_on(write).0?, 4096);
    let (result, buffer) = block_on(read);
    assert_eq!(result?, 4096);
    assert_eq!(buffer, [2; 4096]);
    Ok(())
}

#[test]
fn closure_can_begin_others_but_not_wait() -> Outcome {
    let folder = Folder::new();
    let image = Rc::new(LocalImage::open(folder.copy("plain.qcow2"))?);
    let errnos = Rc::new(RefCell::new(vec![]));
    let (inner, seen) = (Rc::clone(&image), Rc::clone(&errnos));
    image.submit(read(512, 0), move |_, _| {
        seen.borrow_mut().push(errno_of(inner.process()));
        seen.borrow_mut().push(errno_of(inner.read_at(&mut [0; 512], 0)));
        let again = Rc::clone(&seen);
        inner.submit(read(512, 0), move |_, _| again.borrow_mut().push(0)).expect("it is accepted");
    })?;
    drive(&image)?;
    assert_eq!(*errnos.borrow(), [EDEADLK, EDEADLK, 0]);
    Ok(())
}

#[test]
fn panic_of_a_closure_ends_nothing_else() -> Outcome {
    let folder = Folder::new();
    let image = LocalImage::open(folder.copy("plain.qcow2"))?;
    image.submit(read(512, 0), |_, _| panic!("this panic is part of the test"))?;
    assert_eq!(drive(&image)?, 1);
    assert_eq!(image.read_at(&mut [0; 512], 0)?, 512);
    Ok(())
}

#[test]
fn other_ways_to_open_do_the_same_here() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = LocalImage::open_read_only(&path)?;
    assert_eq!(errno_of(image.write_at(&[0; 512], 0)), EROFS);
    assert_eq!(errno_of(LocalImage::open(&path)), EBUSY);
    drop(image);

    let mut options = Options::new()?;
    options.set("read-only", "true")?;
    assert!(LocalImage::open_with(&path, &options)?.is_read_only()?);
    options.add_fd(std::fs::File::open(&path)?)?;
    let image = LocalImage::open_descriptors(&options)?;
    let mut cursor = image.cursor();
    let mut byte = [0];
    std::io::Read::read_exact(&mut cursor, &mut byte)?;
    assert_eq!(byte, [1]);
    Ok(())
}

/// The safe crate does not let it happen: by the functions of C.
#[test]
fn image_belongs_to_the_thread_that_opened_it() -> Outcome {
    let folder = Folder::new();
    let image = raw_open(&folder.copy("plain.qcow2"), qcow2blk_sys::QCOW2BLK_OPEN_CALLER_LOOP);
    let address = image.as_ptr() as usize;
    let results = thread::spawn(move || {
        let image = address as *mut qcow2blk_sys::qcow2blk_image;
        let mut buffer = [0_u8; 512];
        // SAFETY: the image is open, and the buffer is as long as it says.
        unsafe {
            [
                qcow2blk_image_pread(image, buffer.as_mut_ptr().cast(), 512, 0, 0) as i64,
                qcow2blk_image_process(image, 0).into(),
                qcow2blk_image_fd(image).into(),
            ]
        }
    });
    assert_eq!(results.join().expect("no panic"), [-i64::from(EPERM); 3]);
    // SAFETY: the image is open.
    assert_eq!(unsafe { qcow2blk_image_size(image.as_ptr()) }, 64 << 20);
    Ok(())
}

#[test]
fn image_with_a_thread_cannot_be_driven() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = raw_open(&path, 0);
    // SAFETY: the image is open.
    unsafe {
        assert_eq!(qcow2blk_image_fd(image.as_ptr()), -EINVAL);
        assert_eq!(qcow2blk_image_process(image.as_ptr(), 0), -EINVAL);
    }
    drop(image);
    Image::open(&path)?.close()?;
    Ok(())
}
