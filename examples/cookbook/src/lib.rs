//! Compiles and runs the code of the page `docs::serialisation` with serde_json, prost and
//! apache-avro, which the library itself does not depend on.
//!
//! ```sh
//! cargo test -p tokio-rdkafka-cookbook --doc
//! ```

#[cfg(doctest)]
#[doc = include_str!("../../../docs/serialisation.md")]
struct Serialisation;
