//! What happens to a device.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use qcow2blk_sys::*;

use crate::callback::contain;
use crate::device::State;
use crate::text;

/// What happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The state of the device at that time.
    pub state: State,
    /// One line of text; may be empty.
    pub message: String,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The state has changed, by whomever.
    State,
    /// So many requests wait for space (option `on-enospc`); 0 when it is over.
    NoSpace(u32),
    /// Something failed that no request could be told of.
    Error,
    /// The image takes no more writes: it is damaged, or a flush failed.
    Corrupt,
    /// Another process serves the device now: its process ID, or `None` while there is none.
    Server(Option<u32>),
    /// One that this version of the crate does not know, with its number and value.
    Other(u32, i32),
}

impl EventKind {
    fn of(kind: u32, value: i32) -> Self {
        match kind {
            QCOW2BLK_EVENT_STATE => Self::State,
            QCOW2BLK_EVENT_NO_SPACE => Self::NoSpace(value.unsigned_abs()),
            QCOW2BLK_EVENT_ERROR => Self::Error,
            QCOW2BLK_EVENT_CORRUPT => Self::Corrupt,
            QCOW2BLK_EVENT_SERVER => Self::Server(u32::try_from(value).ok().filter(|pid| *pid != 0)),
            _ => Self::Other(kind, value),
        }
    }
}

thread_local! {
    /// The device whose closure runs on this thread.
    static RUNNING: Cell<*mut qcow2blk_device> = const { Cell::new(null_mut()) };
}

/// Whether this is called from the closure of a device.
pub(crate) fn is_running_for(device: *mut qcow2blk_device) -> bool {
    RUNNING.get() == device
}

/// The closure of a device, at a place of its own that the library knows.
pub(crate) struct Listener {
    device: *mut qcow2blk_device,
    closure: Mutex<Box<dyn FnMut(Event) + Send>>,
}

// SAFETY: the device is only compared; the closure is `Send`.
unsafe impl Send for Listener {}

impl Listener {
    pub(crate) fn new(device: *mut qcow2blk_device, closure: impl FnMut(Event) + Send + 'static) -> Box<Self> {
        Box::new(Self { device, closure: Mutex::new(Box::new(closure)) })
    }

    fn hear(&self, event: Event) {
        let before = RUNNING.replace(self.device);
        contain(|| (self.closure.lock().unwrap_or_else(PoisonError::into_inner))(event));
        RUNNING.set(before);
    }

    /// # Safety
    /// `listener` is a `Listener` that stays until the library has been told to forget it; `event` is valid.
    pub(crate) unsafe extern "C" fn callback(listener: *mut c_void, event: *const qcow2blk_device_event) {
        // SAFETY: the library gives back what it got.
        let (listener, event) = unsafe { (&*listener.cast::<Self>(), &*event) };
        listener.hear(Event {
            kind: EventKind::of(event.kind, event.value),
            state: State::of(event.state),
            // SAFETY: the message is valid during the callback.
            message: unsafe { text::copied(event.message) },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_values() {
        let kinds = [
            (QCOW2BLK_EVENT_STATE, 0, EventKind::State),
            (QCOW2BLK_EVENT_NO_SPACE, 3, EventKind::NoSpace(3)),
            (QCOW2BLK_EVENT_NO_SPACE, 0, EventKind::NoSpace(0)),
            (QCOW2BLK_EVENT_ERROR, 0, EventKind::Error),
            (QCOW2BLK_EVENT_CORRUPT, 0, EventKind::Corrupt),
            (QCOW2BLK_EVENT_SERVER, 4711, EventKind::Server(Some(4711))),
            (QCOW2BLK_EVENT_SERVER, 0, EventKind::Server(None)),
            (99, 5, EventKind::Other(99, 5)),
        ];
        for (kind, value, expected) in kinds {
            assert_eq!(EventKind::of(kind, value), expected);
        }
    }
}
