//! Compiles the code of the page `docs::tracing` with OpenTelemetry's SDK, which the library itself
//! does not depend on.
//!
//! ```sh
//! cargo test -p opentelemetry-example --doc
//! ```

#[cfg(doctest)]
#[doc = include_str!("../../../docs/tracing.md")]
struct Tracing;
