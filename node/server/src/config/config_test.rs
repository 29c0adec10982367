//! Precedence, messages, and a printed configuration that says everything.

use std::path::Path;

use super::meaning::SECTIONS;
use super::*;

fn file(text: &str) -> Result<Layer, ConfigError> {
    Layer::text(Path::new("/etc/kontiki.toml"), text)
}

fn variables(pairs: &[(&str, &str)]) -> Result<Vec<Layer>, ConfigError> {
    Layer::environment(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

fn message<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
    result.expect_err("it is refused").to_string()
}

#[test]
fn the_defaults_are_valid() {
    let config = load(&[]).expect("nothing is set");
    assert_eq!(config, Config::default());
    assert_eq!(config.node.client_listen, "127.0.0.1:9640");
}

#[test]
fn the_file_is_below_the_environment_and_that_below_flags() {
    let text = "[raft]\nheartbeat_ms = 61\ntail_bytes_max = 2097152\nappend_window = 7\n";
    let mut layers = vec![file(text).unwrap()];
    layers.extend(
        variables(&[
            ("KONTIKI_RAFT__HEARTBEAT_MS", "62"),
            ("KONTIKI_RAFT__APPEND_WINDOW", "8"),
            ("KONTIKI_BIN", "/nowhere"),
            ("HOME", "/root"),
        ])
        .unwrap(),
    );
    layers.push(Layer::setting("--set", "raft.append_window", "9").unwrap());
    let raft = load(&layers).unwrap().raft;
    assert_eq!((raft.heartbeat_ms, raft.tail_bytes_max, raft.append_window), (62, 2_097_152, 9));
    let default = kontiki_raft::Options::default();
    assert_eq!(raft.entry_bytes_max, default.entry_bytes_max, "what nobody sets stays");
}

#[test]
fn a_part_of_a_section_leaves_the_rest_of_it() {
    let config = load(&[file("[server.peer]\nconnections_max = 5\n").unwrap()]).unwrap();
    let default = ServerOptions::default();
    assert_eq!(config.server.peer.connections_max, 5);
    assert_eq!(config.server.peer.keepalive_ms, default.peer.keepalive_ms);
    assert_eq!(config.server.client, default.client);
}

#[test]
fn what_is_no_setting_is_refused_with_key_and_place() {
    let text = message(file("[raft]\nheartbeet_ms = 60\n"));
    assert!(text.contains("/etc/kontiki.toml"), "{text}");
    assert!(text.contains("heartbeet_ms") && text.contains("line 2"), "{text}");

    let text = message(file("[rafts]\n"));
    assert!(text.contains("rafts") && text.contains("expected one of"), "{text}");

    let text = message(variables(&[("KONTIKI_RAFT__HEARTBEET_MS", "60")]));
    assert!(text.starts_with("KONTIKI_RAFT__HEARTBEET_MS: "), "{text}");
    assert!(text.contains("unknown field `heartbeet_ms`"), "{text}");

    let text = message(variables(&[("KONTIKI_RAFT__HEARTBEAT_MS", "soon")]));
    assert!(text.contains("raft.heartbeat_ms = \"soon\""), "{text}");

    let text = message(Layer::setting("--set", "raft", "60"));
    assert!(text.starts_with("--set: raft = \"60\""), "{text}");
}

#[test]
fn a_value_that_cannot_work_is_traced_to_where_it_was_set() {
    let mut layers = vec![file("[raft]\nheartbeat_ms = 3\n").unwrap()];
    let text = message(load(&layers));
    assert_eq!(text, "raft.heartbeat_ms = 3: at least 10 (from /etc/kontiki.toml)");

    layers = variables(&[("KONTIKI_SERVER__PEER__STREAMS_MAX", "0")]).unwrap();
    let text = message(load(&layers));
    assert_eq!(
        text,
        "server.peer.streams_max = 0: must be 1 or more (from KONTIKI_SERVER__PEER__STREAMS_MAX)"
    );

    let text = message(load(&[file("[cluster]\nshards = 0\n").unwrap()]));
    assert_eq!(text, "cluster.shards = 0: must be 1 to 4096 (from /etc/kontiki.toml)");

    let text = message(load(&[file("[telemetry]\nlog_filter = \"=!\"\n").unwrap()]));
    assert!(text.starts_with("telemetry.log_filter = \"=!\": "), "{text}");
}

#[test]
fn text_needs_no_quotes_in_a_variable() {
    let layers = variables(&[
        ("KONTIKI_NODE__RACK", "12"),
        ("KONTIKI_NODE__JOIN", "a:1,b:2"),
        ("KONTIKI_NODE__LABELS", "{ tier = \"fast\" }"),
    ]);
    let node = load(&layers.unwrap()).unwrap().node;
    assert_eq!(node.rack.as_deref(), Some("12"));
    assert_eq!(node.join, ["a:1", "b:2"]);
    assert_eq!(node.labels["tier"], "fast");
}

#[test]
fn members_are_a_table_or_text_and_replaced_as_a_whole() {
    let table = file("[node.initial_members]\n1 = \"a:1\"\n3 = \"c:3\"\n").unwrap();
    let members = load(std::slice::from_ref(&table)).unwrap().node.initial_members;
    assert_eq!(members.to_string(), "1=a:1,3=c:3");
    let flag = Layer::setting("--initial-members", "node.initial_members", "2=b:2").unwrap();
    let members = load(&[table, flag]).unwrap().node.initial_members;
    assert_eq!(members.to_string(), "2=b:2");
    for (text, word) in [
        ("1=a:1,1=b:2", "twice"),
        ("1=a:1,2=a:1", "two nodes"),
        ("0=a:1", "begin with 1"),
        ("1=a", "host:port"),
        ("a:1", "1=host:port"),
    ] {
        let flag = Layer::setting("--initial-members", "node.initial_members", text);
        let told = message(flag);
        assert!(told.contains(word), "{text}: {told}");
    }
}

#[test]
fn addresses_that_others_can_use() {
    let mut node = NodeOptions { id: 1, ..NodeOptions::default() };
    assert_eq!(node.validate_server(), Ok(()));
    assert_eq!(
        (node.peer_address(), node.client_address()),
        ("127.0.0.1:9641".to_owned(), "127.0.0.1:9640".to_owned())
    );
    node.peer_listen = "0.0.0.0:9641".to_owned();
    node.client_listen = "0.0.0.0:9640".to_owned();
    let (key, why) = node.validate_server().expect_err("nobody can dial 0.0.0.0");
    assert_eq!(key, "peer_advertise");
    assert!(why.contains("0.0.0.0:9641"), "{why}");
    node.initial_members = "1=one:9641,2=two:9641".parse().unwrap();
    assert_eq!(node.validate_server(), Ok(()));
    assert_eq!(
        (node.peer_address(), node.client_address()),
        ("one:9641".to_owned(), "one:9640".to_owned())
    );
    node.id = 0;
    assert_eq!(node.validate_server().expect_err("a node has a number").0, "id");
    node.http_listen = "9642".to_owned();
    assert_eq!(node.validate().expect_err("no host").0, "http_listen");
}

#[test]
fn what_is_printed_is_complete_explained_and_can_be_read_again() {
    let mut config = Config::default();
    config.node.initial_members = "1=a:1,2=b:2".parse().unwrap();
    config.node.labels.insert("tier".to_owned(), "fast".to_owned());
    let text = to_toml(&config);
    let read = load(&[file(&text).expect(&text)]).unwrap();
    assert_eq!(read, config, "{text}");

    let table = toml::Table::try_from(&config).unwrap();
    let mut found = 0;
    each_setting("", &table, &mut |section, name| {
        let known = SECTIONS.iter().find(|known| known.name == section);
        let known = known.unwrap_or_else(|| panic!("[{section}] is not in SECTIONS"));
        let settings = known.settings();
        let setting = settings.iter().find(|setting| setting.name == name);
        let setting =
            setting.unwrap_or_else(|| panic!("{section}.{name} isn't found in its source"));
        assert!(!setting.meaning.is_empty(), "{section}.{name} has no doc comment");
        found += 1;
    });
    assert!(found > 80, "{found} settings");
    assert!(text.contains("\n# rack =\n"), "what isn't set is shown too: {text}");
}

fn each_setting(section: &str, table: &toml::Table, visit: &mut dyn FnMut(&str, &str)) {
    for (name, value) in table {
        let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        let inner = SECTIONS.iter().any(|known| known.name == path);
        match value.as_table() {
            Some(table) if inner || section.is_empty() => each_setting(&path, table, visit),
            Some(_) | None => visit(section, name),
        }
    }
}

#[test]
fn a_full_disk_is_noticed_by_raft_first() {
    let layers = vec![file("[raft]\nfree_bytes_append_min = 1000000\n").unwrap()];
    let text = load(&layers).expect_err("storage would stop first").to_string();
    assert!(text.starts_with("raft.free_bytes_append_min = 1000000: at least "), "{text}");
}
