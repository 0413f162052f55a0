//! An HTTP service that greets visitors and keeps notes.
//!
//! The binary only reads the command line; everything else lives in this
//! library, so tests can build the [`app::router`] without starting a process.

pub mod app;
pub mod cli;
pub mod error;
pub mod extract;
pub mod healthcheck;
pub mod logging;
pub mod metrics;
pub mod openapi;
pub mod routes;
pub mod server;
pub mod shutdown;
pub mod state;
