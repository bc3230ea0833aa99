#[path = "../../../src/ffi/completion.rs"]
pub(crate) mod completion;
mod opaque;

pub(crate) use completion::{Abandoned, Completer, Completers, Receiver};
