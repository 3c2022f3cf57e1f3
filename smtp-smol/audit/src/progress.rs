//! How far reading has come, for whoever shows it.

use std::path::Path;

/// Is told how far reading has come. `()` shows nothing.
pub trait Progress: Sync {
    /// Reading begins. The octets on disk in all, where that is known beforehand: of a folder it is not.
    fn begin(&self, octets: Option<u64>);
    /// This source is read now.
    fn source(&self, path: &Path);
    /// So many octets more were read from disk.
    fn read(&self, octets: u64);
}

impl Progress for () {
    fn begin(&self, _: Option<u64>) {}
    fn source(&self, _: &Path) {}
    fn read(&self, _: u64) {}
}
