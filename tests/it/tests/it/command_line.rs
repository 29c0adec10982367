//! What the first page of the documentation says, done with the binary's own commands.

use std::fs;
use std::process::{Command, Output, Stdio};

use kontiki_it::{Cluster, process, wait};

/// Long enough to be produced for a while, short enough for every run.
const FILE_BYTES: usize = 96 << 20;

/// A command of a client of this cluster.
fn kontiki(cluster: &Cluster, arguments: &[&str]) -> Command {
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let mut command = Command::new(process::binary());
    command.args(arguments).env("KONTIKI_BOOTSTRAP", addresses.join(","));
    command
}

fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}{error}", output.status);
    text
}

/// Bytes that repeat nowhere near, the same in every run (xorshift).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_through_while_the_leader_is_killed() {
    let mut cluster = Cluster::of_three("file").await;
    let create = ["topic", "create", "files", "--partitions", "1"];
    succeeded(&kontiki(&cluster, &create).output().expect("it starts"));
    let (sent, received) = (cluster.folder().join("sent"), cluster.folder().join("received"));
    fs::write(&sent, noise(FILE_BYTES)).expect("there is room");

    let (_, leader) = cluster.leader("files", 0).await;
    let any = cluster.any();
    let path = sent.display().to_string();
    let mut produce = kontiki(&cluster, &["produce", "files", "--file", &path]);
    let mut producer = produce.stdout(Stdio::null()).spawn().expect("it starts");
    wait::until("the first records", || async {
        let offsets = any.ask("offsets", |api| async move { api.offsets("files", 0).await });
        match offsets.await {
            (_, 0) => Err("none yet".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    let middle = producer.try_wait().expect("a child can be waited for").is_none();
    cluster.node(leader).kill();
    let ended = tokio::task::spawn_blocking(move || producer.wait()).await;
    let status = ended.expect("no panic").expect("a child can be waited for");
    assert!(status.success(), "the producer ended with {status}");

    let path = received.display().to_string();
    let consume = ["consume", "files", "--from", "earliest", "--until-end", "-o", &path];
    succeeded(&kontiki(&cluster, &consume).output().expect("it starts"));
    let same = fs::read(&sent).expect("written above") == fs::read(&received).expect("it is there");
    assert!(same, "the file that came out is not the one that went in");
    println!("{FILE_BYTES} bytes; killed while they were produced: {middle}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_and_failures() {
    use std::io::Write as _;
    let cluster = Cluster::of_three("lines").await;
    succeeded(&kontiki(&cluster, &["topic", "create", "letters"]).output().expect("it starts"));
    let mut produce = kontiki(&cluster, &["produce", "letters", "--key-separator", ":"]);
    let mut child = produce.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"alice:hello\nbob:raft\n").expect("it reads");
    drop(input);
    assert!(child.wait().expect("a child can be waited for").success());

    let consume = ["consume", "letters", "--from", "earliest", "--until-end"];
    let text = succeeded(&kontiki(&cluster, &consume).output().expect("it starts"));
    assert_eq!(text, "hello\nraft\n");
    let json = [&consume[..], &["--output", "json"]].concat();
    let text = succeeded(&kontiki(&cluster, &json).output().expect("it starts"));
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.lines().all(|line| line.starts_with('{') && line.contains("\"offset\"")),
        "{text}"
    );

    let missing = kontiki(&cluster, &["topic", "describe", "nothing"]).output();
    let missing = missing.expect("it starts");
    assert_eq!(missing.status.code(), Some(3), "not found has a status of its own");
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("nothing") && said.contains("does not exist"), "{said}");
    let again = kontiki(&cluster, &["topic", "create", "letters"]).output().expect("it starts");
    assert_eq!(again.status.code(), Some(4), "so has a conflict");
}
