//! How the others are configured: as their own documentation has it for three nodes, on loopback,
//! with nothing switched off that a user would have on but what isn't used (plugins, TLS).

use std::fmt::Write as _;
use std::path::Path;

/// Where one node listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// For clients.
    pub client: u16,
    /// For the other nodes.
    pub peer: u16,
}

/// The name of a RabbitMQ node, from 1. It tells this cluster from any other on this machine.
#[must_use]
pub fn rabbitmq_node(cluster: u32, number: usize) -> String {
    format!("kontikipeer{cluster}n{number}@localhost")
}

/// `rabbitmq.conf` of one node of a cluster of `nodes`.
#[must_use]
pub fn rabbitmq(ports: Ports, cluster: u32, nodes: usize) -> String {
    let mut text = format!(
        "listeners.tcp.local = 127.0.0.1:{}\n\
         cluster_formation.peer_discovery_backend = classic_config\n",
        ports.client
    );
    for number in 1..=nodes {
        let node = rabbitmq_node(cluster, number);
        let _ = writeln!(text, "cluster_formation.classic_config.nodes.{number} = {node}");
    }
    text.push_str("log.console = true\nlog.console.level = warning\n");
    text
}

/// The environment of one node of RabbitMQ, whose data goes to `folder`; with the port of the
/// mapper of names (`epmd`).
#[must_use]
pub fn rabbitmq_env(
    folder: &Path,
    node: &str,
    ports: Ports,
    mapper: u16,
) -> Vec<(&'static str, String)> {
    let file = |name: &str| folder.join(name).display().to_string();
    // The mapper runs already; one that they start by themselves would outlive them.
    let loopback = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false";
    vec![
        // The cookie that the nodes know one another by is in here.
        ("HOME", folder.parent().unwrap_or(folder).display().to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("ERL_EPMD_PORT", mapper.to_string()),
        ("RABBITMQ_NODENAME", node.to_owned()),
        ("RABBITMQ_DIST_PORT", ports.peer.to_string()),
        ("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf")),
        ("RABBITMQ_CONF_ENV_FILE", file("rabbitmq-env.conf")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", file("mnesia")),
        ("RABBITMQ_LOG_BASE", file("log")),
        ("RABBITMQ_PID_FILE", file("pid")),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback.to_owned()),
        ("RABBITMQ_CTL_ERL_ARGS", loopback.to_owned()),
        // Its script replaces itself by the server then, as it does for systemd.
        ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
    ]
}

/// The configuration of one node of NATS, number `index` of `all`, whose data goes to `folder`.
/// With `sync_always`, whatever is acknowledged has been synced; by default it syncs every two
/// minutes.
#[must_use]
pub fn nats(folder: &Path, all: &[Ports], index: usize, sync_always: bool) -> String {
    let routes: Vec<String> =
        all.iter().map(|ports| format!("\"nats://127.0.0.1:{}\"", ports.peer)).collect();
    let sync = if sync_always { "  sync_interval: always\n" } else { "" };
    format!(
        "server_name: n{number}\n\
         listen: \"127.0.0.1:{client}\"\n\
         jetstream {{\n  store_dir: \"{folder}\"\n{sync}}}\n\
         cluster {{\n  name: peers\n  listen: \"127.0.0.1:{peer}\"\n  routes: [{routes}]\n}}\n",
        number = index + 1,
        client = all[index].client,
        peer = all[index].peer,
        folder = folder.display(),
        routes = routes.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Ports; 2] = [Ports { client: 1, peer: 2 }, Ports { client: 3, peer: 4 }];

    #[test]
    fn a_node_of_rabbitmq_knows_all_of_its_cluster() {
        let text = rabbitmq(ALL[0], 7, 2);
        assert!(text.contains("listeners.tcp.local = 127.0.0.1:1\n"), "{text}");
        assert!(text.contains(".nodes.1 = kontikipeer7n1@localhost\n"), "{text}");
        assert!(text.contains(".nodes.2 = kontikipeer7n2@localhost\n"), "{text}");
    }

    #[test]
    fn nothing_of_rabbitmq_is_outside_of_its_folder_and_of_loopback() {
        let env = rabbitmq_env(Path::new("/x/n1"), "a@localhost", ALL[1], 9);
        let get = |key| env.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
        assert_eq!(get("HOME"), Some("/x"));
        assert_eq!(get("RABBITMQ_MNESIA_BASE"), Some("/x/n1/mnesia"));
        assert_eq!(get("RABBITMQ_DIST_PORT"), Some("4"));
        assert_eq!(get("ERL_EPMD_PORT"), Some("9"));
        for key in ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "RABBITMQ_CTL_ERL_ARGS"] {
            assert!(get(key).is_some_and(|value| value.contains("{127,0,0,1}")), "{key}");
        }
    }

    #[test]
    fn nats_syncs_always_only_where_it_is_told_to() {
        let text = nats(Path::new("/x/n2"), &ALL, 1, true);
        assert_eq!(
            text,
            "server_name: n2\nlisten: \"127.0.0.1:3\"\n\
             jetstream {\n  store_dir: \"/x/n2\"\n  sync_interval: always\n}\n\
             cluster {\n  name: peers\n  listen: \"127.0.0.1:4\"\n  \
             routes: [\"nats://127.0.0.1:2\", \"nats://127.0.0.1:4\"]\n}\n"
        );
        assert!(!nats(Path::new("/x/n1"), &ALL, 0, false).contains("sync_interval"));
    }
}
