use loom::sync::Arc;

/// Counted, so that loom sees whether each is dropped.
#[derive(Debug)]
pub struct Delivery(pub(crate) Arc<()>);
