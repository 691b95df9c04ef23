//! Several buffers in a request that nobody waits for.

use qcow2blk::{Flags, Image, Operation};

use crate::support::{assert_pattern, block_on, errno_of, plain, Folder, Outcome, CLUSTER, EINVAL};

#[test]
fn buffers_are_filled_one_after_the_other() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let buffers = vec![vec![9; 700], vec![], vec![9; 130_000]];
    let (result, buffers) = block_on(image.read_vectored_async(buffers, CLUSTER - 300));
    assert_eq!(result?, 130_700);
    assert!(buffers[0] == plain(CLUSTER - 300, 700));
    assert!(buffers[1].is_empty());
    assert!(buffers[2] == plain(CLUSTER + 400, 130_000));
    Ok(())
}

#[test]
fn buffers_are_written_one_after_the_other() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    let (result, buffers) = block_on(image.write_vectored_async(vec![vec![0xa1; 100], vec![0xa2; 90_000]], 60));
    assert_eq!(result?, 90_100);
    assert_eq!(buffers.len(), 2);
    let fua = Operation::WriteVectored { buffers, offset: CLUSTER * 4, flags: Flags::FUA };
    assert_eq!(block_on(image.start(fua)).0?, 90_100);
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    assert_pattern(&copy, 0xa1, CLUSTER * 4, 100);
    image.close()?;
    assert_pattern(&path, 0xa1, 60, 100);
    assert_pattern(&path, 0xa2, 160, 90_000);
    Ok(())
}

#[test]
fn as_many_buffers_as_allowed_and_no_more() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let (result, buffers) = block_on(image.read_vectored_async(vec![vec![9; 2]; 1024], CLUSTER));
    assert_eq!(result?, 2048);
    assert!(buffers.iter().flatten().all(|byte| *byte == 2));
    let (result, buffers) = block_on(image.read_vectored_async(vec![vec![9; 2]; 1025], 0));
    assert_eq!(errno_of(result), EINVAL);
    assert_eq!(buffers.len(), 1025);
    let (result, _) = block_on(image.write_vectored_async(vec![vec![9; 2]; 1025], 0));
    assert_eq!(errno_of(result), EINVAL);
    Ok(())
}
