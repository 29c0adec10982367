//! Prints all records of a topic, from the oldest on, and then what is added.
//!
//! `cargo run -p kontiki-client --example consume -- 127.0.0.1:9640,127.0.0.1:9650 letters`

use kontiki_client::{Client, ConsumerOptions, Options, Position};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(addresses), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err("usage: consume HOST:PORT[,HOST:PORT...] TOPIC".into());
    };
    let client = Client::new(Options::bootstrap(&addresses.split(',').collect::<Vec<_>>()))?;
    let metadata = client.metadata(&[&topic]).await?;
    let mut consumer = client.consumer(ConsumerOptions::default())?;
    for about in metadata.topics {
        if let Some(error) = about.error {
            return Err(error.message.into());
        }
        for partition in about.partitions {
            consumer.assign(&topic, partition.partition, Position::Earliest).await?;
        }
    }
    loop {
        let fetched = consumer.next().await?;
        for record in fetched.records {
            let value = record.value.unwrap_or_default();
            let text = String::from_utf8_lossy(&value);
            println!("{}/{}: {text}", fetched.partition, record.offset);
        }
    }
}
