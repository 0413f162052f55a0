//! The handlers, one module per topic.

pub mod fallback;
pub mod greeting;
pub mod health;
pub mod notes;
pub mod reports;
