//! What all requests share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kiro_store::Store;

use crate::metrics::Metrics;

/// What all requests share; cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// Where notes are kept.
    pub store: Store,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    visits: Arc<AtomicU64>,
}

impl AppState {
    /// The state of a service that has answered no request yet.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            metrics: Arc::default(),
            visits: Arc::default(),
        }
    }

    /// Counts a visit and returns how many there were, this one included.
    pub fn count_visit(&self) -> u64 {
        self.visits.fetch_add(1, Ordering::Relaxed) + 1
    }
}
