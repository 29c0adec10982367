//! Sends each line of the standard input as a record, and says where it went.
//!
//! `cargo run -p kontiki-client --example produce -- 127.0.0.1:9640,127.0.0.1:9650 letters`

use std::io::BufRead as _;

use kontiki_client::{Client, Delivery, Error, NewRecord, Options, ProducerOptions};

/// Deliveries that are waited for at once.
const OUTSTANDING_MAX: usize = 10_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(addresses), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err("usage: produce HOST:PORT[,HOST:PORT...] TOPIC < lines".into());
    };
    let client = Client::new(Options::bootstrap(&addresses.split(',').collect::<Vec<_>>()))?;
    let producer = client.producer(ProducerOptions::default()).await?;
    let mut deliveries = Vec::new();
    for line in std::io::stdin().lock().lines() {
        deliveries.push(producer.send(NewRecord::new(topic.clone(), line?)).await?);
        if deliveries.len() == OUTSTANDING_MAX {
            report(&mut deliveries).await?;
        }
    }
    producer.flush().await?;
    report(&mut deliveries).await?;
    producer.close().await?;
    Ok(())
}

async fn report(deliveries: &mut Vec<Delivery>) -> Result<(), Error> {
    for delivery in deliveries.drain(..) {
        let delivered = delivery.await?;
        let offset = delivered.offset.map_or("unknown".to_owned(), |offset| offset.to_string());
        println!("partition {}, offset {offset}", delivered.partition);
    }
    Ok(())
}
