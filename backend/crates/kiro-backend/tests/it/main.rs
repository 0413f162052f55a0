//! The service over HTTP, in this process and as a process of its own.

mod bad_input;
mod healthcheck;
mod notes;
mod process;
mod service;
mod shutdown;
mod support;
