//! An image that this process serves on a unix socket.

use std::path::PathBuf;

use qcow2blk::{Device, Options};

use super::Folder;

pub struct Attached {
    pub device: Device,
    pub image: PathBuf,
    pub uri: String,
    // Last: the folder goes when the device has.
    pub folder: Folder,
}

impl Attached {
    /// # Arguments
    /// * `image` - which of the test images
    /// * `name` - of the device; each test has its own, as they all use one runtime directory
    pub fn new(image: &str, name: &str) -> Self {
        let folder = Folder::new();
        let image = folder.copy(image);
        let socket = folder.path("nbd");
        let mut options = Options::new().expect("options can be made");
        options
            .set("socket", socket.to_str().expect("the folder for temporary files is UTF-8"))
            .and_then(|options| options.set("name", name))
            .expect("these are options");
        let device = Device::attach(&image, &options).expect("a test image can be attached");
        let uri = device.uri().expect("the device has a handle").expect("NBD has a URI");
        Self { device, image, uri, folder }
    }
}
