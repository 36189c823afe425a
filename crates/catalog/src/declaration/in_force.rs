//! The declarations in force, by table, and those that were before them.
//! Runs on: any thread.
//! Never: forgets an earlier version while its producers may go on.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::model::Declaration;
use crate::TableName;

/// The declarations in force, by table.
#[derive(Debug, Default)]
pub struct Declarations(RwLock<HashMap<(String, String), InForce>>);

/// A table's declaration, and those that were in force before it, oldest first.
#[derive(Debug, Default)]
struct InForce {
    current: Option<Arc<Declaration>>,
    earlier: Vec<Arc<Declaration>>,
}

impl Declarations {
    /// The declaration of a table of the server's own database.
    pub fn find(&self, name: &TableName) -> Option<Arc<Declaration>> {
        self.read().get(&key(name))?.current.clone()
    }

    /// The versions of a table's declaration that were in force before, oldest first.
    pub fn earlier(&self, name: &TableName) -> Vec<Arc<Declaration>> {
        self.read().get(&key(name)).map(|table| table.earlier.clone()).unwrap_or_default()
    }

    /// Puts `declarations` in force, beside those of other tables. `earlier` are all that were in force before.
    pub fn add(
        &self,
        declarations: impl IntoIterator<Item = Declaration>,
        earlier: impl IntoIterator<Item = Declaration>,
    ) {
        let mut by_name = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for table in by_name.values_mut() {
            table.earlier.clear();
        }
        for version in earlier {
            let name = key(&version.name);
            by_name.entry(name).or_default().earlier.push(Arc::new(version));
        }
        for declaration in declarations {
            let name = key(&declaration.name);
            by_name.entry(name).or_default().current = Some(Arc::new(declaration));
        }
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Declaration>> {
        let mut all: Vec<_> = self.read().values().filter_map(|table| table.current.clone()).collect();
        all.sort_by_key(|one| one.name.to_string());
        all
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<(String, String), InForce>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SQL compares names without case.
pub(super) fn key(name: &TableName) -> (String, String) {
    (name.schema.as_deref().unwrap_or("main").to_lowercase(), name.table.to_lowercase())
}
