//! The engine's large allocations, held to the limit of the process (`memory.cpp`), and free memory given back to the system.
//! Runs on: the engine's threads.
//! Never: panics into C++.

use duckdb::connection::Connection;
use duckdb::{AsRaw, ffi};

use crate::memory::{BUDGET, Piece};

unsafe extern "C" {
    fn pintail_hold_allocations(connection: ffi::duckdb_v2_connection_handle);
}

/// Holds the large allocations of a connection's instance to the limit of the process.
pub(crate) fn hold_allocations(connection: &Connection) {
    // SAFETY: the connection is borrowed for the length of the call, which keeps nothing of it.
    unsafe { pintail_hold_allocations(connection.get_raw()) }
}

/// Whether the engine may take so many bytes more: 0, or the limit that they would go beyond. `told`: it says when it gives
/// them back.
#[unsafe(no_mangle)]
extern "C" fn pintail_take_memory(bytes: u64, told: bool) -> u64 {
    let piece = if told { Piece::Told } else { Piece::Untold };
    BUDGET.take(bytes, piece).err().map_or(0, |limit| limit.max(1))
}

/// The engine has given so many bytes back.
#[unsafe(no_mangle)]
extern "C" fn pintail_give_memory_back(bytes: u64) {
    BUDGET.give_back(bytes);
}

/// Gives the system the free memory that malloc keeps; takes as long as there is much of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn trim_malloc() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // SAFETY: malloc_trim may be called at any time from any thread. It says whether there was any, which nobody asks.
    let _ = unsafe { malloc_trim(0) };
}

/// Gives the system the free memory that malloc keeps, where there is a way.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim_malloc() {}
