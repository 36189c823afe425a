//! Failed logins -> how long the next one waits, by address and by user.
//! Runs on: async tasks; a look into memory.
//! Never: locks anybody out: who has logged in from an address before waits for nothing but that address's own failures.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Failures that cost nothing: people mistype.
const FREE: u32 = 3;
/// Attempts at one time that cost nothing: clients open many connections at once. More count as failures.
const OPEN: u32 = 32;
/// The first wait; it doubles with every failure.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait for the failures of an address.
const ADDRESS_MAX: Duration = Duration::from_secs(5);
/// Longest wait for the failures of a user, which may all be somebody else's.
const USER_MAX: Duration = Duration::from_secs(1);
/// Failures are forgotten after this long without another.
const FORGOTTEN: Duration = Duration::from_secs(900);
/// Logins that wait at one time; more are refused.
const WAITING_MAX: usize = 256;
/// Addresses and users remembered.
const KNOWN_MAX: usize = 10_000;

/// What has failed.
#[derive(Default)]
pub(super) struct Slow(Mutex<State>);

#[derive(Default)]
struct State {
    addresses: HashMap<IpAddr, Failures>,
    users: HashMap<String, Failures>,
    // Who has logged in from where.
    good: HashSet<(IpAddr, String)>,
    waiting: usize,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    // Being checked now: many at one time would else all be free.
    open: u32,
    last: Instant,
}

/// One attempt, until it is over.
pub(super) struct Attempt<'a> {
    slow: &'a Slow,
    address: Option<IpAddr>,
    user: String,
    over: bool,
}

impl Slow {
    /// Begins an attempt, after the wait that earlier ones have earned. `user` is who it says to be.
    ///
    /// Errors: `Exhausted` when too many wait already.
    pub(super) async fn begin(&self, address: Option<IpAddr>, user: &str) -> Result<Attempt<'_>> {
        let (attempt, wait) = self.enter(address, user)?;
        if !wait.is_zero() {
            let _waits = Waits::new(self);
            tokio::time::sleep(wait).await;
        }
        Ok(attempt)
    }

    /// An attempt, and how long it is to wait.
    fn enter(&self, address: Option<IpAddr>, user: &str) -> Result<(Attempt<'_>, Duration)> {
        let address = address.map(network);
        let mut state = self.state();
        let wait = state.wait(address, user);
        if !wait.is_zero() && state.waiting >= WAITING_MAX {
            return Err(Error::busy(
                &format!("{WAITING_MAX} failed logins that wait"),
                "too many logins have failed, and too many wait; try again in a minute",
            )
            .again_after(Duration::from_secs(60)));
        }
        state.each(address, user, |failures| failures.open += 1);
        Ok((Attempt { slow: self, address, user: user.to_owned(), over: false }, wait))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The attempt was right.
    pub(super) fn succeeded(mut self) {
        self.over = true;
        let mut state = self.slow.state();
        state.each(self.address, &self.user, |failures| {
            failures.open = failures.open.saturating_sub(1);
        });
        if let Some(address) = self.address {
            if state.good.len() >= KNOWN_MAX {
                state.good.clear();
            }
            state.good.insert((address, self.user.clone()));
        }
        // A success does not forgive the address: its owner could else try others' passwords in between.
        state.users.remove(&self.user);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // An attempt that its client gave up counts as well: it would else be a way around the wait.
        self.slow.state().each(self.address, &self.user, |failures| {
            failures.open = failures.open.saturating_sub(1);
            failures.count += 1;
            failures.last = Instant::now();
        });
    }
}

impl State {
    fn wait(&self, address: Option<IpAddr>, user: &str) -> Duration {
        let by_address = address.and_then(|address| self.addresses.get(&address));
        let is_good = address.is_some_and(|address| self.good.contains(&(address, user.to_owned())));
        let by_user = if is_good { None } else { self.users.get(user) };
        let of = |failures: Option<&Failures>, most: Duration| {
            failures.map_or(Duration::ZERO, |failures| failures.wait().min(most))
        };
        of(by_address, ADDRESS_MAX).max(of(by_user, USER_MAX))
    }

    /// Changes what is known of an address and of a user; `change` finds them as new when they are not known.
    fn each(&mut self, address: Option<IpAddr>, user: &str, change: impl Fn(&mut Failures)) {
        let new = || Failures { count: 0, open: 0, last: Instant::now() };
        let stale = |failures: &Failures| failures.open == 0 && failures.last.elapsed() > FORGOTTEN;
        if self.addresses.len() + self.users.len() >= KNOWN_MAX {
            self.addresses.retain(|_, failures| !stale(failures));
            self.users.retain(|_, failures| !stale(failures));
        }
        let has_room = self.addresses.len() + self.users.len() < KNOWN_MAX;
        if let Some(address) = address {
            match self.addresses.get_mut(&address) {
                Some(failures) => change(failures),
                None if has_room => change(self.addresses.entry(address).or_insert_with(new)),
                None => {}
            }
        }
        match self.users.get_mut(user) {
            Some(failures) => change(failures),
            None if has_room => change(self.users.entry(user.to_owned()).or_insert_with(new)),
            None => {}
        }
    }
}

impl Failures {
    fn wait(&self) -> Duration {
        let count = if self.last.elapsed() > FORGOTTEN { 0 } else { self.count };
        let count = count + self.open.saturating_sub(OPEN);
        match count.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(over) => FIRST * 2_u32.pow(over.min(16)),
        }
    }
}

/// A place among those that wait.
struct Waits<'a>(&'a Slow);

impl<'a> Waits<'a> {
    fn new(slow: &'a Slow) -> Self {
        slow.state().waiting += 1;
        Self(slow)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// One customer's addresses count as one: a customer has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(bits.into())
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));
    const THERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)));

    fn fail(slow: &Slow, address: Option<IpAddr>, user: &str, times: usize) {
        for _ in 0..times {
            drop(slow.enter(address, user).unwrap());
        }
    }

    #[test]
    fn failures_cost_time_and_never_more_than_the_most() {
        let slow = Slow::default();
        fail(&slow, HERE, "ada", 2);
        assert_eq!(slow.state().wait(HERE, "ada"), Duration::ZERO, "people mistype");
        fail(&slow, HERE, "ada", 1);
        assert_eq!(slow.state().wait(HERE, "ada"), FIRST);
        fail(&slow, HERE, "ada", 20);
        assert_eq!(slow.state().wait(HERE, "ada"), ADDRESS_MAX);
        assert_eq!(slow.state().wait(HERE, "bob"), ADDRESS_MAX, "the address is at fault");
        assert_eq!(slow.state().wait(THERE, "ada"), USER_MAX, "the owner comes from elsewhere");
        assert_eq!(slow.state().wait(THERE, "bob"), Duration::ZERO);
    }

    #[test]
    fn who_was_right_before_does_not_wait_for_others_failures() {
        let slow = Slow::default();
        slow.enter(HERE, "ada").unwrap().0.succeeded();
        fail(&slow, THERE, "ada", 20);
        assert_eq!(slow.state().wait(HERE, "ada"), Duration::ZERO);
        assert!(slow.state().users.values().all(|failures| failures.open == 0));
    }

    #[test]
    fn attempts_at_one_time_count_as_failures() {
        let slow = Slow::default();
        let open: Vec<_> = (0..OPEN + FREE).map(|_| slow.enter(HERE, "ada").unwrap().0).collect();
        assert_eq!(slow.state().wait(HERE, "bob"), FIRST);
        open.into_iter().for_each(Attempt::succeeded);
        assert_eq!(slow.state().wait(HERE, "bob"), Duration::ZERO);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
