//! Reads a sector, and writes sixteen blocks at once.

use qcow2blk::{Flags, Image, Operation, Queue};

fn main() -> qcow2blk::Result<()> {
    let path = std::env::args().nth(1).expect("usage: write IMAGE");
    let image = Image::open(path)?;
    println!("{} bytes in clusters of {}", image.size()?, image.cluster_size()?);

    let mut sector = [0; 512];
    image.read_at(&mut sector, 0)?;

    let queue = Queue::new(16)?;
    for i in 0..16_u8 {
        let (buffer, offset) = (vec![i; 4096], u64::from(i) * 65536);
        queue.submit(&image, Operation::Write { buffer, offset, flags: Flags::NONE }, i)?;
    }
    while queue.outstanding() > 0 {
        for done in queue.wait(16, None)? {
            println!("write {}: {} bytes", done.token, done.result?);
        }
    }
    image.flush()?;
    image.close()
}
