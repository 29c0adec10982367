//! What a failed call says about whether it has reached the other node.

use kontiki_proto::node::ReadRequest;
use kontiki_proto::node::peer_client::PeerClient;
use tokio::net::TcpListener;
use tonic::transport::Endpoint;

use super::may_have_arrived;

async fn failure_at(port: u16) -> tonic::Status {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
    let mut client = PeerClient::new(endpoint.connect_lazy());
    client.read(ReadRequest::default()).await.expect_err("nobody answers")
}

#[tokio::test]
async fn who_was_never_connected_has_not_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    drop(listener);
    assert!(!may_have_arrived(&failure_at(port).await));
}

#[tokio::test]
async fn who_hangs_up_may_have_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    let hangs_up = async {
        use tokio::io::AsyncReadExt as _;
        let (mut connection, _) = listener.accept().await.expect("somebody comes");
        let mut some = [0; 64];
        let read = connection.read(&mut some).await.expect("it says something");
        assert!(read > 0);
    };
    let (failure, ()) = tokio::join!(failure_at(port), hangs_up);
    assert!(may_have_arrived(&failure), "{failure:?}");
    let too_large = tonic::Status::out_of_range("decoded message length too large");
    assert!(may_have_arrived(&too_large));
}
