//! Waits until nodes say that they serve.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::LOOK_AGAIN;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// After this long, and then as often, it is said what a node waits for.
const TELL: Duration = Duration::from_secs(10);

/// Resolves when every node is ready; says now and then why one isn't.
pub async fn all(pages: Vec<(u16, u16)>) {
    for (id, port) in pages {
        let mut told = Instant::now();
        while let Err(why) = ask(port).await {
            if told.elapsed() >= TELL {
                told = Instant::now();
                println!("node {id} isn't ready: {why}");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Why a node doesn't serve.
async fn ask(port: u16) -> Result<(), String> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await;
    let answer = answer.map_err(|_| "it doesn't answer".to_owned())?;
    judge(&answer.map_err(|error| error.to_string())?)
}

fn judge(answer: &str) -> Result<(), String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    if head.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = serde_json::from_str::<serde_json::Value>(body).ok();
    let why = body.as_ref().and_then(|body| body["why"].as_str());
    Err(why.unwrap_or_else(|| head.lines().next().unwrap_or_default()).to_owned())
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn an_answer_says_whether_and_why_not() {
        assert_eq!(judge("HTTP/1.1 200 OK\r\n\r\n{}"), Ok(()));
        let answer = "HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n{\"why\":\"no leader\"}\n";
        assert_eq!(judge(answer), Err("no leader".to_owned()));
        assert_eq!(judge("HTTP/1.1 500 Oh\r\n\r\n"), Err("HTTP/1.1 500 Oh".to_owned()));
    }
}
