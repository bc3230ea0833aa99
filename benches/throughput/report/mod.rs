//! The results: the samples of all rounds, compared with goals and peers, as text, as JSON and as
//! a picture.
//!
//! Uses `tables`, `jobs` and `measure`.

pub(crate) mod comparison;
pub(crate) mod comparisons;
pub(crate) mod json_file;
pub(crate) mod picture;
pub(crate) mod results;
pub(crate) mod spread;
pub(crate) mod table;
