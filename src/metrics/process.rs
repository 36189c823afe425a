//! What the system says of this process.
//! Runs on: any thread; reads `/proc`, and gives 0 where there is none.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clock ticks of `/proc` in a second: what Linux has told programs since it has other ticks inside.
const TICKS: f64 = 100.0;

/// Resident memory of this process in bytes; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// As [`resident_bytes`], and up to 100 ms old: asking the system takes as long as a small call.
pub fn recent_resident_bytes() -> u64 {
    static RECENT: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    match *recent {
        Some((at, bytes)) if at.elapsed() < Duration::from_millis(100) => bytes,
        _ => recent.insert((Instant::now(), resident_bytes())).1,
    }
}

/// Highest resident memory of this process so far, in bytes; 0 where the system does not say.
pub fn peak_resident_bytes() -> u64 {
    status_bytes("VmHWM:")
}

fn status_bytes(key: &str) -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Processor time of this process in seconds, and its threads.
pub(super) fn cpu_and_threads() -> (f64, u64) {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the program's name, which may have spaces and brackets in it.
    let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    ((number(11) + number(12)) as f64 / TICKS, number(17))
}

/// Files that this process has open.
pub(super) fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}

/// Files that it may have open.
pub fn open_files_max() -> u64 {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|soft| soft.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_says_what_this_process_uses() {
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {}
        let (seconds, threads) = cpu_and_threads();
        assert!(seconds > 0.0 && threads > 0, "{seconds} {threads}");
        assert!(open_files() > 2 && open_files_max() >= open_files());
        assert!(resident_bytes() > 1 << 20 && peak_resident_bytes() >= resident_bytes());
    }
}
