//! Internal snapshots.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use qcow2blk_sys::qcow2blk_snapshot;

use crate::text;

/// An internal snapshot. The option `snapshot` opens one, by its name or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// As `qemu-img snapshot -l` shows it; unique.
    pub id: String,
    /// May be that of another snapshot too.
    pub name: String,
    /// When it was made.
    pub date: SystemTime,
    /// How long the guest had run.
    pub vm_clock: Duration,
    /// Bytes of saved memory; 0 for a snapshot of the disk alone.
    pub vm_state_size: u64,
    /// Bytes of the disk at that time.
    pub disk_size: u64,
}

impl Snapshot {
    /// # Safety
    /// The strings of the structure are valid.
    pub(crate) unsafe fn copy_of(raw: &qcow2blk_snapshot) -> Self {
        // SAFETY: the caller says that they are strings.
        let (id, name) = unsafe { (text::copied(raw.id), text::copied(raw.name)) };
        Self {
            id,
            name,
            date: date(raw.date_seconds, raw.date_nanoseconds),
            vm_clock: Duration::from_nanos(raw.vm_clock),
            vm_state_size: raw.vm_state_size,
            disk_size: raw.disk_size,
        }
    }
}

/// An impossible date comes from a damaged image: it becomes the beginning of time.
pub(crate) fn date(seconds: i64, nanoseconds: u32) -> SystemTime {
    let since = u64::try_from(seconds).unwrap_or(0);
    UNIX_EPOCH.checked_add(Duration::from_secs(since) + Duration::from_nanos(nanoseconds.into())).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_their_nanoseconds_and_bad_ones_are_harmless() {
        assert_eq!(date(1_700_000_000, 5), UNIX_EPOCH + Duration::new(1_700_000_000, 5));
        assert_eq!(date(-1, 0), UNIX_EPOCH);
        assert_eq!(date(i64::MAX, u32::MAX), UNIX_EPOCH);
    }
}
