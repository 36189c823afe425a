//! Settings that were left open -> what is in force, by what the machine or the cgroup has.
//! Runs on: any thread.

use super::machine::Machine;
use super::units::{Bytes, MIB};
use super::{Config, Database};

impl Config {
    /// What the process may take: the setting, or nine tenths of the memory there is.
    pub fn process_memory_bytes(&self) -> u64 {
        self.server.memory_limit.map_or_else(|| whole_mib(Machine::here().memory / 10 * 9), |limit| limit.0)
    }

    /// What the engine's buffers may take: the setting, or half of the memory there is, or of `server.memory_limit`.
    pub fn engine_memory_bytes(&self) -> u64 {
        let whole = self.server.memory_limit.map_or_else(|| Machine::here().memory, |limit| limit.0);
        self.database.memory_limit.map_or(whole_mib(whole / 2), |limit| limit.0)
    }

    /// The same configuration with a value for every setting that depends on the machine.
    pub fn in_force(&self) -> Self {
        let mut config = self.clone();
        config.server.memory_limit = Some(Bytes(self.process_memory_bytes()));
        config.database.memory_limit = Some(Bytes(self.engine_memory_bytes()));
        config.database.threads = Some(self.database.worker_threads());
        config
    }
}

/// Rounded down, so that it reads well.
fn whole_mib(bytes: u64) -> u64 {
    bytes / MIB * MIB
}

impl Database {
    /// The engine's worker threads: the setting, or as many as there are processors.
    pub fn worker_threads(&self) -> usize {
        self.threads.unwrap_or_else(|| Machine::here().processors)
    }
}
