//! Serves an image over NBD, and has qemu-img make a snapshot while clients wait.

use std::process::Command;

use qcow2blk::{Device, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, socket] = arguments.as_slice() else { return Err("usage: snapshot IMAGE SOCKET".into()) };
    let mut options = Options::new()?;
    options.set("socket", socket)?;
    let device = Device::attach(image, &options)?;
    device.set_events(|event| println!("{:?}: {:?}", event.kind, event.state))?;
    println!("clients can connect to {}", device.uri()?.unwrap_or_default());

    device.suspend(None)?;
    let status = Command::new("qemu-img").args(["snapshot", "-c", "backup", image]).status()?;
    device.resume(None)?;
    println!("qemu-img: {status}");
    device.close()?;
    Ok(())
}
