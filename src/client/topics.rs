//! Finding and opening the topic handles of a client.

use std::sync::Arc;

use super::core::{Core, Live};
use crate::error::KafkaError;
use crate::ffi::{Opaque, TopicHandle};
use crate::message::{Topic, TopicName};
use crate::sync::{read, write};
use crate::values::topic_name;

impl<O: Opaque> Core<O> {
    /// Opens a topic for a user, who may keep it after the client is destroyed.
    pub(crate) fn topic(&self, name: &str) -> Result<Topic, KafkaError> {
        if self.is_closed() {
            return Err(self.closed_error());
        }
        let handle = self.handle_by_name(name)?;
        Ok(Topic::new(name.into(), &handle))
    }

    /// Returns the handle of a record's topic.
    #[inline]
    pub(super) fn handle(&self, topic: &TopicName<'_>) -> Result<Arc<TopicHandle>, KafkaError> {
        if self.is_closed() {
            return Err(self.closed_error());
        }
        if let Some(handle) = topic.handle().and_then(Topic::upgrade) {
            if handle.client_id() == self.client_id {
                return Ok(handle);
            }
        }
        self.handle_by_name(topic.as_str())
    }

    fn handle_by_name(&self, name: &str) -> Result<Arc<TopicHandle>, KafkaError> {
        let find = |live: &Live| live.topics.get(name);
        // A statement of its own, so that the read lock is released before `open_handle`.
        let found = read(&self.live).as_ref().and_then(find);
        match found {
            Some(handle) => Ok(handle),
            None => self.open_handle(name),
        }
    }

    #[cold]
    fn open_handle(&self, name: &str) -> Result<Arc<TopicHandle>, KafkaError> {
        topic_name::check_name(name)?;
        let mut live = write(&self.live);
        // Checked under the lock, because `destroy` takes the handles under it.
        let live = live
            .as_mut()
            .filter(|_| !self.is_closed())
            .ok_or_else(|| self.closed_error())?;
        if let Some(found) = live.topics.get_any(name) {
            return Ok(found);
        }
        let handle = TopicHandle::open(&live.client, name)
            .map_err(|code| self.error_of(&live.client, code))?;
        live.topics.insert(name.into(), Arc::clone(&handle));
        Ok(handle)
    }
}

#[cfg(all(test, feature = "mock"))]
mod tests {
    use super::super::config::ClientConfig;
    use super::super::topic_handles::GENERATION;
    use crate::{MockCluster, Producer, ProducerRecord};

    #[tokio::test]
    async fn more_topics_than_cached_handles_are_all_delivered() {
        const TOPICS: usize = 5 * GENERATION;
        let cluster = MockCluster::new(1).unwrap();
        let producer: Producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .unwrap();
        let first = producer.topic("topic-0").unwrap();
        let mut futures = Vec::new();
        for _round in 0..2 {
            for number in 0..TOPICS {
                let record = ProducerRecord::to(format!("topic-{number}")).payload("v");
                futures.push(producer.enqueue(record).await.unwrap());
            }
        }
        for future in futures {
            future.await.unwrap();
        }
        // Its handle was evicted, so the producer looks the topic up by name.
        assert!(first.upgrade().is_none());
        producer
            .send(ProducerRecord::to(&first).payload("v"))
            .await
            .unwrap();
        assert_eq!(cluster.records("topic-0").await.unwrap().len(), 3);
        producer.close().await;
    }
}
