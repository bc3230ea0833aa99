use std::marker::PhantomData;

#[derive(Debug)]
pub struct SendError<D>(PhantomData<D>);

impl<D> SendError<D> {
    pub(super) fn abandoned() -> Self {
        Self(PhantomData)
    }
}
