//! Copies of the images, in a folder that is removed after the test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Once;

use qcow2blk::Image;

const IMAGES: &str = "QCOW2BLK_TEST_IMAGES";

static STARTED: Once = Once::new();
static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// Gives the library a runtime directory of our own. Each test does it, or makes a folder, before it calls the library:
/// the environment must not change while that reads it.
pub fn start() {
    STARTED.call_once(|| {
        let folder = new_folder("run");
        std::env::set_var("QCOW2BLK_RUNTIME_DIR", folder);
    });
}

/// A folder for one test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        start();
        Self(new_folder("test"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A copy of an image that can be written.
    pub fn copy(&self, name: &str) -> PathBuf {
        let from = std::env::var_os(IMAGES)
            .unwrap_or_else(|| panic!("set {IMAGES} to the folder that tests/abi/make-images.sh has filled"));
        let from = Path::new(&from).join(name);
        let to = self.path(name);
        if let Err(error) = std::fs::copy(&from, &to) {
            panic!("cannot copy {} ({IMAGES} is what tests/abi/make-images.sh has filled): {error}", from.display());
        }
        to
    }

    /// The same, opened.
    pub fn open(&self, name: &str) -> Image {
        Image::open(self.copy(name)).expect("a copy of a test image can be opened")
    }

    /// overlay.qcow2 with its backing file, opened.
    pub fn open_overlay(&self) -> Image {
        self.copy("base.qcow2");
        self.open("overlay.qcow2")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Short, because the names of unix sockets have to be.
fn new_folder(kind: &str) -> PathBuf {
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("q2r-{}-{kind}{number}", std::process::id()));
    std::fs::create_dir(&folder).unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("it is ours");
    folder
}
