//! The Rust client of Kontiki: an idempotent producer, a prefetching consumer, subscriptions,
//! workers of queues, publishers to exchanges, requests and replies, administration.
//!
//! ```no_run
//! use kontiki_client::{Client, ConsumerOptions, NewRecord, Options, Position};
//! use kontiki_client::{ProducerOptions, v1};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), kontiki_client::Error> {
//! let client = Client::new(Options::bootstrap(&["127.0.0.1:9640"]))?;
//!
//! let topic = v1::CreateTopicRequest {
//!     topic: "letters".to_owned(),
//!     partitions: 3,
//!     if_not_exists: true,
//!     ..Default::default()
//! };
//! client.admin().create_topic(topic).await?;
//!
//! let producer = client.producer(ProducerOptions::default()).await?;
//! let delivery = producer.send(NewRecord::new("letters", "hello").key("alice")).await?;
//! let delivered = delivery.await?;
//! println!("partition {}, offset {:?}", delivered.partition, delivered.offset);
//! producer.close().await?;
//!
//! let mut consumer = client.consumer(ConsumerOptions::default())?;
//! consumer.assign("letters", delivered.partition, Position::Earliest).await?;
//! for record in consumer.next().await?.records {
//!     println!("{}: {:?}", record.offset, record.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it promises:
//!
//! - A record whose [`Delivery`] is `Ok` is stored, once, after those that were sent before it to
//!   the same partition, whatever broke on the way (see [`ProducerOptions::idempotent`]).
//! - An [`Error`] says whether something may have been done: [`Error::surely_not_done`].
//! - Every wait has an end and every buffer a limit, each a field of [`Options`],
//!   [`ProducerOptions`] or [`ConsumerOptions`].
//!
//! It needs a Tokio runtime. Requests and answers of [`Admin`] are the contract's own types,
//! [`v1`].

mod admin;
mod backoff;
mod client;
mod consumer;
mod error;
mod link;
mod metadata;
mod options;
mod pool;
mod producer;
mod publisher;
mod record;
mod requests;
mod sender;
mod subscription;
mod worker;

pub use admin::Admin;
pub use client::Client;
pub use consumer::{Consumer, ConsumerOptions, Fetched, OutOfRange, Position};
pub use error::Error;
pub use kontiki_proto::v1;
pub use kontiki_records::Compression;
pub use options::Options;
pub use pool::{Connect, Connecting};
pub use producer::{Acks, Delivered, Delivery, Producer, ProducerOptions};
pub use publisher::{Publisher, PublisherOptions, Publishing};
pub use record::{ConsumedRecord, Header, NewRecord};
pub use requests::Response;
pub use sender::{Sender, SenderOptions, Sending};
pub use subscription::{Published, SubscribeOptions, Subscription};
pub use worker::{Failure, Verdict, WorkerOptions, WorkerSummary};
