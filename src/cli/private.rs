//! A database's path -> who may read the files that this process makes from now on.
//! Runs on: the thread of the command, before the database is opened.
//! Never: changes the permissions of a file that is there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::umask;

/// Lets nobody but the user of the process read a new database, its log, backups and spilled data; those of a database that
/// is there, whoever may read its file. The engine makes its log anew again and again, so this is of the process.
pub(super) fn keep_private(database: &Path) {
    let allowed = std::fs::metadata(database).map_or(0o600, |file| file.permissions().mode());
    let before = umask(Mode::empty());
    umask(before | Mode::from_raw_mode(withheld(allowed)));
}

/// Bits that no new file has, beside one with these; a folder can be entered by whoever can read the file.
fn withheld(allowed: u32) -> u32 {
    let of_class = |shift: u32| {
        let missing = !(allowed >> shift) & 0o6;
        (missing | (missing >> 2)) << shift
    };
    of_class(3) | of_class(0)
}

#[cfg(test)]
mod tests {
    use super::withheld;

    #[test]
    fn new_files_are_as_private_as_the_database() {
        for (allowed, left) in
            [(0o600, 0o077), (0o640, 0o027), (0o644, 0o022), (0o660, 0o007), (0o666, 0o000)]
        {
            assert_eq!(withheld(allowed), left, "{allowed:o}");
        }
    }
}
