//! What the system lets a process have, against what the configuration may ask for.

use std::fs;
use std::path::Path;

use pintail::config::Config;
use pintail::metrics::open_files_max;

use super::Finding;
use crate::cli::figures::rounded;

/// Files that a server has open besides connections: database, log, spilled data, its own sockets.
const OTHER_FILES: u64 = 128;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    // Each port has as many places.
    let connections = 2 * config.server.max_connections as u64;
    let configured = config.database.memory_limit_bytes()
        + config.ingest.memory_limit.0
        + config.ingest.receive_memory_limit.0
        + config.session.bound_memory_limit.0;
    vec![
        open_files(open_files_max(), connections + OTHER_FILES),
        memory(configured, cgroup_memory(), machine_memory()),
        threads(config.database.worker_threads(), cgroup_cores()),
    ]
}

fn open_files(limit: u64, needed: u64) -> Finding {
    match limit {
        0 => Finding::note("open files", "the system does not say how many are allowed"),
        limit if limit < needed => Finding::wrong(
            "open files",
            format!(
                "{limit} are allowed, and server.max_connections may take {needed}; run `ulimit -n {needed}` before the \
                 server (LimitNOFILE in a systemd unit), or lower the setting"
            ),
        ),
        limit => Finding::right("open files", format!("{limit} are allowed, {needed} may be needed")),
    }
}

fn memory(configured: u64, cgroup: Option<u64>, machine: u64) -> Finding {
    let (limit, whose) = match cgroup {
        Some(limit) if machine == 0 || limit < machine => (limit, "its cgroup"),
        _ => (machine, "the machine"),
    };
    if limit == 0 {
        return Finding::note("memory", "the system does not say how much there is");
    }
    let text = format!("limits add up to {}, and {whose} has {}", rounded(configured), rounded(limit));
    if configured > limit {
        return Finding::wrong(
            "memory",
            format!("{text}; lower database.memory_limit, or the kernel may end the server"),
        );
    }
    Finding::right("memory", text)
}

fn threads(configured: usize, cores: Option<f64>) -> Finding {
    match cores {
        Some(cores) if configured as f64 > cores.ceil() => Finding::note(
            "threads",
            format!(
                "database.threads is {configured}, and the cgroup has {cores:.1} cores; set it to {:.0}",
                cores.ceil()
            ),
        ),
        _ => Finding::right("threads", format!("{configured} for the engine")),
    }
}

fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// The folders of this process's cgroup and of those around it, the innermost first; version 2.
fn cgroups() -> Vec<String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    Path::new(path).ancestors().map(|folder| format!("/sys/fs/cgroup{}", folder.display())).collect()
}

/// The least memory that a cgroup around this process allows.
fn cgroup_memory() -> Option<u64> {
    let limit = |folder: String| fs::read_to_string(format!("{folder}/memory.max")).ok()?.trim().parse().ok();
    let second = cgroups().into_iter().filter_map(limit).min();
    // Version 1 has a number so large that it means none.
    let first = || {
        let text = fs::read_to_string("/sys/fs/cgroup/memory/memory.limit_in_bytes").ok()?;
        text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
    };
    second.or_else(first)
}

/// The least processor time that a cgroup allows, in cores.
fn cgroup_cores() -> Option<f64> {
    let cores = |folder: String| {
        let text = fs::read_to_string(format!("{folder}/cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    };
    cgroups().into_iter().filter_map(cores).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn too_few_files_are_wrong() {
        assert_eq!(open_files(1024, 1024).verdict, Verdict::Right);
        let few = open_files(256, 1024);
        assert_eq!(few.verdict, Verdict::Wrong);
        assert!(few.text.contains("ulimit -n 1024"), "{}", few.text);
        assert_eq!(open_files(0, 1).verdict, Verdict::Note);
    }

    #[test]
    fn limits_that_add_up_to_more_than_there_is_are_wrong() {
        assert_eq!(memory(5, None, 10).verdict, Verdict::Right);
        assert_eq!(memory(11, None, 10).verdict, Verdict::Wrong);
        let held = memory(8, Some(7), 10);
        assert_eq!(held.verdict, Verdict::Wrong);
        assert!(held.text.contains("its cgroup"), "{}", held.text);
        assert_eq!(memory(8, Some(1 << 50), 10).verdict, Verdict::Right);
    }

    #[test]
    fn more_threads_than_cores_are_noted() {
        assert_eq!(threads(8, Some(1.5)).verdict, Verdict::Note);
        assert_eq!(threads(2, Some(1.5)).verdict, Verdict::Right);
        assert_eq!(threads(64, None).verdict, Verdict::Right);
    }
}
