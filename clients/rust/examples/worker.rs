//! Works on the messages of a queue until it is interrupted: prints each, and acknowledges it.
//!
//! `cargo run --release -p kontiki-client --example worker -- 127.0.0.1:9640 jobs`

use kontiki_client::{Client, Options, Verdict, WorkerOptions, v1};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, queue] = arguments.as_slice() else {
        return Err("expected HOST:PORT and the name of a queue".into());
    };
    let client = Client::new(Options::bootstrap(&bootstrap.split(',').collect::<Vec<_>>()))?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        // Either way it is the end.
        let _ = tokio::signal::ctrl_c().await;
        stop.send_replace(true);
    });
    let work = |message: v1::IncomingMessage| async move {
        println!("{}: {}", message.message_id, String::from_utf8_lossy(&message.body));
        // Verdict::Retry: again, after a pause. Verdict::Reject: to the dead-letter queue.
        Verdict::Acknowledge
    };
    let summary = client.work(queue, WorkerOptions::default(), stopped, work).await?;
    println!("{} acknowledged", summary.acknowledged);
    Ok(())
}
