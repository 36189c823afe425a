//! The clients of one database, which die and begin anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::changes;
use super::producers::produce;
use super::transactions::{loose, pairs};
use super::world::{PRODUCERS, World};

/// The clients of one database.
pub(super) struct Clients {
    world: Arc<World>,
    tasks: Vec<JoinHandle<()>>,
    epoch: u64,
}

impl Clients {
    pub(super) fn start(world: Arc<World>) -> Self {
        let mut clients = Self { world, tasks: Vec::new(), epoch: 0 };
        clients.begin();
        clients
    }

    /// Every producer with a higher epoch, as after a crash of its process.
    pub(super) fn begin(&mut self) {
        self.epoch += 1;
        for task in self.tasks.drain(..) {
            task.abort();
        }
        for who in 0..PRODUCERS.len() {
            self.tasks.push(tokio::spawn(produce(Arc::clone(&self.world), who, self.epoch)));
        }
        self.tasks.push(tokio::spawn(pairs(Arc::clone(&self.world))));
        for _ in 0..2 {
            self.tasks.push(tokio::spawn(loose(Arc::clone(&self.world))));
        }
        let world = Arc::clone(&self.world);
        self.tasks.push(tokio::spawn(async move { changes::client(&world).await }));
    }

    /// A client that ended by itself met something it must not.
    pub(super) async fn look(&mut self) {
        if let Some(ended) = self.tasks.iter().position(JoinHandle::is_finished) {
            self.tasks.swap_remove(ended).await.unwrap();
            panic!("a client ended before it was told to");
        }
    }

    pub(super) async fn finish(self) {
        self.world.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(60), task)
                .await
                .expect("a client does not end")
                .unwrap();
        }
    }
}
