use std::marker::PhantomData;

#[derive(Debug)]
pub struct MessageState<D>(PhantomData<D>);

impl<D> MessageState<D> {
    pub(crate) fn of_no_message() -> Self {
        Self(PhantomData)
    }
}
