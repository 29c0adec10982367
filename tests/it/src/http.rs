//! One HTTP request, for the nodes' own pages (`/readyz`, `/livez`, `/metrics`).

use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Status and body of a page.
///
/// # Errors
/// In words, where there was no answer in two seconds or none that is HTTP.
pub async fn get(address: SocketAddrV4, path: &str) -> Result<(u16, String), String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), exchange)
        .await
        .map_err(|_| format!("http://{address}{path}: no answer in 2 s"))?
        .map_err(|e| format!("http://{address}{path}: {e}"))?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| format!("http://{address}{path}: not HTTP: {head:?}"))?;
    Ok((status, body.to_owned()))
}

/// The sum of all samples of a metric on a page in Prometheus' text format; `None` where it has
/// none.
#[must_use]
pub fn metric(page: &str, name: &str) -> Option<f64> {
    let samples = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::metric;

    #[test]
    fn samples_of_one_name_are_added() {
        let page = "# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3.5\nab 7\n";
        assert_eq!(metric(page, "a"), Some(5.5));
        assert_eq!(metric(page, "b"), None);
    }
}
