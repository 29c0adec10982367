//! A file as records: chunks of it, in order, in one partition.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use kontiki_client::NewRecord;
use tokio::sync::mpsc;

use super::ProduceArgs;
use super::progress::Progress;
use super::sender::Sender;
use crate::commands::CommandError;

/// Chunks that are read ahead.
const CHUNKS_MAX: usize = 4;

/// Sends the file. Ctrl-C ends it with a failure, for the file isn't complete then.
pub(super) async fn send(
    path: &Path,
    args: &ProduceArgs,
    sender: &mut Sender,
) -> Result<(), CommandError> {
    let name = path.display().to_string();
    let named = |error: io::Error| CommandError::from(error).context(&name);
    let (source, size): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path)
            .map_err(|error| CommandError::usage(format!("{name} can't be read: {error}")))?;
        let metadata = file.metadata().map_err(named)?;
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    let mut chunks = read_chunks(source, args.chunk_bytes as usize);
    let mut progress = Progress::new(size);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        let chunk = tokio::select! {
            chunk = chunks.recv() => chunk,
            _ = &mut interrupt => {
                progress.end();
                return Err(CommandError::fault(format!("{name} was sent in part only")));
            }
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(named)?;
        let bytes = chunk.len() as u64;
        let mut record = NewRecord::new(sender.topic(), chunk);
        record.partition = Some(args.partition.unwrap_or(0));
        record.headers = args.headers();
        sender.send(record).await?;
        progress.add(bytes);
    }
    progress.end();
    Ok(())
}

/// Chunks of this size, the last one may be shorter. A thread of its own reads them.
fn read_chunks(
    mut source: Box<dyn Read + Send>,
    chunk_bytes: usize,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
    std::thread::spawn(move || {
        loop {
            let mut chunk = Vec::with_capacity(chunk_bytes);
            let read = (&mut source).take(chunk_bytes as u64).read_to_end(&mut chunk);
            let item = match read {
                Ok(0) => return,
                Ok(_) => Ok(Bytes::from(chunk)),
                Err(error) => Err(error),
            };
            let over = item.is_err();
            if chunks.blocking_send(item).is_err() || over {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_are_the_file() {
        let bytes: Vec<u8> = (0..1_000_u32).map(|number| number as u8).collect();
        let mut chunks = read_chunks(Box::new(io::Cursor::new(bytes.clone())), 300);
        let mut sizes = Vec::new();
        let mut all = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk.expect("nothing fails");
            sizes.push(chunk.len());
            all.extend_from_slice(&chunk);
        }
        assert_eq!((sizes, all), (vec![300, 300, 300, 100], bytes));
    }
}
