//! Helpers that the test binaries share.
#![allow(dead_code)] // Each binary uses a part of them.

pub mod example;
pub mod kafka;
pub mod logins;
pub mod logs;
#[cfg(feature = "mock")]
pub mod mock;
pub mod proxy;
#[cfg(feature = "statistics")]
pub mod statistics;
pub mod token_endpoint;
pub mod trials;
#[path = "../../examples/common/unsecured_token.rs"]
pub mod unsecured_token;
