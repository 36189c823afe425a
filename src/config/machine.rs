//! What the machine, or the cgroup that the process is in, has: memory and processors.
//! Runs on: any thread; reads a few small files once.
//! Never: takes a limit for more than it is: of all cgroups around the process, the smallest counts.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::units::MIB;

/// Memory and processors that the process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Bytes of memory.
    pub memory: u64,
    /// Processors, the parts of one that a cgroup gives rounded up.
    pub processors: usize,
}

impl Machine {
    /// This machine, as it was when it was asked about first.
    pub fn here() -> Self {
        static HERE: OnceLock<Machine> = OnceLock::new();
        *HERE.get_or_init(|| Self::read(Path::new("/proc"), Path::new("/sys/fs/cgroup")))
    }

    /// What `/proc` and the folder of the cgroups say.
    fn read(proc: &Path, cgroups: &Path) -> Self {
        // 8 GiB where the system does not say; the limits can always be set by hand.
        let memory = read(&proc.join("meminfo")).and_then(|text| total(&text)).unwrap_or(8 * 1024 * MIB);
        let processors = read(&proc.join("self/status")).and_then(|text| allowed(&text));
        let processors =
            processors.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let folders = folders(&read(&proc.join("self/cgroup")).unwrap_or_default(), cgroups);
        let limits = folders.iter().flat_map(|folder| memory_limits(folder));
        let quotas = folders.iter().filter_map(|folder| quota(folder));
        Self {
            memory: limits.filter(|limit| *limit > 0).min().map_or(memory, |limit| limit.min(memory)),
            processors: quotas.min().map_or(processors, |quota| quota.min(processors)).max(1),
        }
    }
}

fn read(file: &Path) -> Option<String> {
    std::fs::read_to_string(file).ok()
}

/// `MemTotal` of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// How many processors the process may run on, as its `Cpus_allowed_list` has it: `0-3,8`.
fn allowed(status: &str) -> Option<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().split(',').try_fold(0, |count, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(count + last.checked_sub(first)? + 1)
    })
}

/// The folders of the cgroups around the process, as `/proc/self/cgroup` has them. In a container the path may be that of
/// the host, which is not there; its own cgroup then is the folder at the top.
fn folders(cgroup: &str, top: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let mounts: Vec<PathBuf> = if controllers.is_empty() {
            // Version 2, alone or beside version 1.
            vec![top.to_owned(), top.join("unified")]
        } else if controllers.split(',').any(|name| name == "memory" || name == "cpu") {
            std::iter::once(controllers).chain(controllers.split(',')).map(|name| top.join(name)).collect()
        } else {
            continue;
        };
        for mount in mounts {
            let own = mount.join(path.trim_start_matches('/'));
            // The path is the system's own word, and says "/.." for what is outside of a container.
            let above = own.ancestors().take_while(|folder| folder.starts_with(&mount));
            folders.extend(above.map(Path::to_owned));
        }
    }
    folders
}

/// Limits of memory in a cgroup's folder. Version 1 says so large a number where there is none that the machine has less.
fn memory_limits(folder: &Path) -> Vec<u64> {
    ["memory.max", "memory.high", "memory.limit_in_bytes"]
        .iter()
        .filter_map(|name| read(&folder.join(name))?.trim().parse().ok())
        .collect()
}

/// Processors that a cgroup's quota comes to, rounded up.
fn quota(folder: &Path) -> Option<usize> {
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|number| *number > 0);
    let (quota, period) = match read(&folder.join("cpu.max")) {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            (number(quota)?, number(period)?)
        }
        None => (
            number(&read(&folder.join("cpu.cfs_quota_us"))?)?,
            number(&read(&folder.join("cpu.cfs_period_us"))?)?,
        ),
    };
    usize::try_from(quota.div_ceil(period)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A machine of 16 GiB and 8 processors, with these files.
    fn machine(files: &[(&str, &str)]) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec![
            ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n"),
            ("proc/self/status", "Name:\tpintail\nCpus_allowed_list:\t0-3,8,10-12\n"),
        ];
        all.extend_from_slice(files);
        for (name, text) in all {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Machine::read(&folder.path().join("proc"), &folder.path().join("cgroup"))
    }

    #[test]
    fn without_a_cgroup_it_is_the_machine() {
        let whole = Machine { memory: 16 * GIB, processors: 8 };
        assert_eq!(machine(&[]), whole);
        let unlimited = [
            ("proc/self/cgroup", "0::/a\n"),
            ("cgroup/a/memory.max", "max\n"),
            ("cgroup/a/cpu.max", "max 100000\n"),
        ];
        assert_eq!(machine(&unlimited), whole);
        let old = [
            ("proc/self/cgroup", "4:memory:/a\n2:cpu,cpuacct:/a\n"),
            ("cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n"),
            ("cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(machine(&old), whole);
    }

    #[test]
    fn the_smallest_limit_on_the_path_counts() {
        let nested = [
            ("proc/self/cgroup", "0::/pods/one/main\n"),
            ("cgroup/pods/memory.max", "8589934592\n"),
            ("cgroup/pods/one/memory.max", "2147483648\n"),
            ("cgroup/pods/one/main/memory.max", "max\n"),
            ("cgroup/pods/one/main/cpu.max", "150000 100000\n"),
            ("cgroup/pods/cpu.max", "400000 100000\n"),
        ];
        assert_eq!(machine(&nested), Machine { memory: 2 * GIB, processors: 2 });
        let throttled = [
            ("proc/self/cgroup", "0::/a\n"),
            ("cgroup/a/memory.max", "4294967296\n"),
            ("cgroup/a/memory.high", "3221225472\n"),
            ("cgroup/a/cpu.max", "10000 100000\n"),
        ];
        assert_eq!(machine(&throttled), Machine { memory: 3 * GIB, processors: 1 });
        let beside = [
            ("proc/self/cgroup", "4:memory:/process/x\n0::/\n"),
            ("cgroup/memory/process/memory.limit_in_bytes", "1073741824\n"),
            ("cgroup/memory/other/memory.limit_in_bytes", "1\n"),
        ];
        assert_eq!(machine(&beside), Machine { memory: GIB, processors: 8 });
    }

    /// In a container whose `/proc/self/cgroup` has the host's path.
    #[test]
    fn a_container_has_its_limits_at_the_top() {
        let files = [
            (
                "proc/self/cgroup",
                "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/system.slice/docker\n",
            ),
            ("cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
            ("cgroup/cpu/cpu.cfs_quota_us", "250000\n"),
            ("cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(machine(&files), Machine { memory: GIB, processors: 3 });
        let modern = [("proc/self/cgroup", "0::/\n"), ("cgroup/memory.max", "536870912\n")];
        assert_eq!(machine(&modern).memory, GIB / 2);
    }
}
