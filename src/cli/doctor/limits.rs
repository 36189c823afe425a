//! What the system lets a process have, against what the configuration may ask for.

use pintail::config::{Config, Machine};
use pintail::metrics::open_files_max;

use super::Finding;
use crate::cli::figures::rounded;

/// Files that a server has open besides connections: database, log, spilled data, its own sockets.
const OTHER_FILES: u64 = 128;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    // Each port has as many places.
    let connections = 2 * config.server.max_connections as u64;
    let machine = Machine::here();
    let configured = config.engine_memory_bytes()
        + config.ingest.memory_limit.0
        + config.ingest.receive_memory_limit.0
        + config.session.bound_memory_limit.0;
    vec![
        open_files(open_files_max(), connections + OTHER_FILES),
        memory(configured, machine.memory),
        threads(config.database.worker_threads(), machine.processors),
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

fn memory(configured: u64, there: u64) -> Finding {
    let text = format!(
        "limits add up to {}, and the machine, or the cgroup that this runs in, has {}",
        rounded(configured),
        rounded(there)
    );
    if configured > there {
        return Finding::wrong(
            "memory",
            format!("{text}; lower database.memory_limit, or the kernel may end the server"),
        );
    }
    Finding::right("memory", text)
}

fn threads(configured: usize, there: usize) -> Finding {
    if configured > there {
        let text =
            format!("database.threads is {configured}, and there are {there} processors; set it to {there}");
        return Finding::note("threads", text);
    }
    Finding::right("threads", format!("{configured} for the engine"))
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
        assert_eq!(memory(5, 10).verdict, Verdict::Right);
        assert_eq!(memory(11, 10).verdict, Verdict::Wrong);
    }

    #[test]
    fn more_threads_than_cores_are_noted() {
        assert_eq!(threads(8, 2).verdict, Verdict::Note);
        assert_eq!(threads(2, 2).verdict, Verdict::Right);
    }
}
