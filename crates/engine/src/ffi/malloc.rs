//! How many arenas glibc's malloc has, and what it keeps for the next allocation.
//! Runs on: the main thread, before others start.
//! Never: overrules what the operator's environment says of malloc.

use std::ffi::c_int;

/// malloc.h of glibc.
const M_TRIM_THRESHOLD: c_int = -1;
const M_TOP_PAD: c_int = -2;
const M_MMAP_THRESHOLD: c_int = -3;
const M_ARENA_MAX: c_int = -8;

/// The most that glibc takes for its mmap threshold. Arrow buffers are smaller, and larger blocks of the engine come
/// and go with every message: taken with mmap, each is zeroed by the kernel again.
const MMAP_THRESHOLD: c_int = 32 << 20;
/// Free memory at the top of an arena that is kept.
const TRIM_THRESHOLD: c_int = 32 << 20;
/// What is asked of the kernel beyond an allocation.
const TOP_PAD: c_int = 1 << 20;

/// Gives malloc as many arenas as threads compute, so that what one thread frees another can use; glibc's own eight for
/// every processor each keep their free memory. Does nothing where the environment sets malloc up, or without glibc.
///
/// Measured in `docs/internals/tried-and-left-out.md`.
pub fn tune_malloc(threads: usize) {
    let is_set =
        |name: &std::ffi::OsStr| name == "GLIBC_TUNABLES" || name.as_encoded_bytes().starts_with(b"MALLOC_");
    if std::env::vars_os().any(|(name, _)| is_set(&name)) {
        return;
    }
    let arenas = c_int::try_from(threads.max(2)).unwrap_or(c_int::MAX);
    for (parameter, value) in [
        (M_ARENA_MAX, arenas),
        (M_MMAP_THRESHOLD, MMAP_THRESHOLD),
        (M_TRIM_THRESHOLD, TRIM_THRESHOLD),
        (M_TOP_PAD, TOP_PAD),
    ] {
        set(parameter, value);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(parameter: c_int, value: c_int) {
    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    // SAFETY: mallopt takes two plain numbers, may be called at any time from any thread, and refuses what it does not
    // know by returning 0.
    let taken = unsafe { mallopt(parameter, value) };
    if taken == 0 {
        tracing::warn!(parameter, value, "malloc does not take a setting; it goes on with its own");
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn set(_parameter: c_int, _value: c_int) {}
