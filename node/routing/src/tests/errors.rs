//! Every refusal: when it comes, and what it says to whoever reads it.

use super::{bind, table};
use crate::limits::{ARGUMENTS_MAX, BINDINGS_MAX};
use crate::{Binding, Declaration, Error, Kind, Pattern, QueueId, Routed, Syntax, Table};

fn refused(table: &mut Table, binding: &Binding<'_>) -> String {
    let before = table.bindings_len();
    let message = table.bind(binding).unwrap_err().to_string();
    assert_eq!(table.bindings_len(), before, "what is refused changes nothing");
    assert!(!table.unbind(binding), "and is nothing that could be unbound");
    message
}

#[test]
fn exchanges_that_are_not_there() {
    let mut table = table("t", Kind::Topic);
    let message = "no exchange \"missing\": declare it first";
    assert_eq!(refused(&mut table, &Binding::to_queue("missing", QueueId(1), "")), message);
    assert_eq!(refused(&mut table, &Binding::to_exchange("t", "missing", "")), message);
    let mut routed = Routed::new();
    bind(&mut table, "t", 1, "#");
    assert!(table.route("t", "", &(), &mut routed).unwrap());
    let error = table.route("missing", "", &(), &mut routed).unwrap_err();
    assert_eq!(error.to_string(), message);
    assert!(!routed.is_routed(), "nothing is left of the message before");
    assert_eq!(table.set_alternate("missing", None).unwrap_err().to_string(), message);
}

#[test]
fn the_default_exchange() {
    let message = "the default exchange \"\" leads to every queue by the queue's name and can't be \
                   declared, deleted, bound, routed through or an alternate here: use an exchange \
                   with a name";
    let mut table = table("t", Kind::Topic);
    assert_eq!(refused(&mut table, &Binding::to_queue("", QueueId(1), "")), message);
    assert_eq!(refused(&mut table, &Binding::to_exchange("t", "", "")), message);
    assert_eq!(table.delete_exchange("").unwrap_err().to_string(), message);
    let error = table.declare_exchange("", Declaration::new(Kind::Direct)).unwrap_err();
    assert_eq!(error.to_string(), message);
    let alternate = Declaration::new(Kind::Direct).with_alternate("");
    assert_eq!(table.declare_exchange("d", alternate), Err(Error::DefaultExchange));
    assert_eq!(table.set_alternate("t", Some("")), Err(Error::DefaultExchange));
    assert_eq!(table.route("", "q", &(), &mut Routed::new()), Err(Error::DefaultExchange));
}

#[test]
fn another_declaration() {
    let mut table = Table::new(1);
    let first = Declaration { internal: true, ..Declaration::new(Kind::Topic) };
    table.declare_exchange("t", first.clone()).unwrap();
    let mut refused = |declaration| {
        let error = table.declare_exchange("t", declaration).unwrap_err().to_string();
        assert_eq!(table.exchange("t"), Some(&first));
        error
    };
    let end = "declare it as it is, or delete it first";
    let hash = Kind::ConsistentHash { header: Some("h".into()) };
    assert_eq!(
        refused(Declaration { kind: hash, ..first.clone() }),
        format!("exchange \"t\" has kind topic, not consistent-hash of header \"h\": {end}")
    );
    assert_eq!(
        refused(Declaration { internal: false, ..first.clone() }),
        format!("exchange \"t\" has internal true, not false: {end}")
    );
    assert_eq!(
        refused(first.clone().with_alternate("u")),
        format!("exchange \"t\" has alternate exchange none, not \"u\": {end}")
    );
}

#[test]
fn lengths() {
    let mut table = table("t", Kind::Topic);
    let long = "é".repeat(128);
    let fits = "e".repeat(255);
    let ending = format!("{:?}... has 256 bytes, at most 255 are allowed: shorten it", &long[..48]);
    let binding = Binding::to_queue("t", QueueId(1), &long);
    assert_eq!(refused(&mut table, &binding), format!("routing key of binding {ending}"));
    let error = Pattern::compile(&long, Syntax::Amqp).unwrap_err();
    assert_eq!(error.to_string(), format!("pattern {ending}"));
    let error = table.declare_exchange(&long, Declaration::new(Kind::Direct)).unwrap_err();
    assert_eq!(error.to_string(), format!("name of exchange {ending}"));
    let declaration = Declaration::new(Kind::Direct).with_alternate(&long);
    let error = table.declare_exchange("d", declaration).unwrap_err();
    assert_eq!(error.to_string(), format!("name of alternate exchange {ending}"));
    let error = table.set_alternate("t", Some(&long)).unwrap_err();
    assert_eq!(error.to_string(), format!("name of alternate exchange {ending}"));
    let hash = Kind::ConsistentHash { header: Some(long.as_str().into()) };
    let error = table.declare_exchange("d", Declaration::new(hash)).unwrap_err();
    assert_eq!(error.to_string(), format!("name of the header to hash {ending}"));
    let error = table.route("t", &long, &(), &mut Routed::new()).unwrap_err();
    assert_eq!(error.to_string(), format!("routing key {ending}"));
    let error = table.route(&long, "", &(), &mut Routed::new()).unwrap_err();
    assert_eq!(error.to_string(), format!("name of exchange {ending}"));

    bind(&mut table, "t", 1, &fits);
    table.route("t", &fits, &(), &mut Routed::new()).unwrap();
    table.declare_exchange(&fits, Declaration::new(Kind::Direct)).unwrap();
}

#[test]
fn patterns() {
    let mut table = table("t", Kind::Topic);
    let long = ["*"; 128].join(".");
    assert!(Pattern::compile(&long[2..], Syntax::Amqp).is_ok());
    assert!(Pattern::compile(&long, Syntax::Amqp).is_ok());
    let long = ".".repeat(128);
    let message = format!(
        "pattern {long:?} has 129 words, at most 128 are allowed: let one # stand for many"
    );
    assert_eq!(refused(&mut table, &Binding::to_queue("t", QueueId(1), &long)), message);
    let binding = |pattern| Binding::to_queue("t", QueueId(1), pattern).in_syntax(Syntax::Nats);
    assert_eq!(
        refused(&mut table, &binding("a.>.b")),
        "pattern \"a.>.b\": `>` may only be the last word; `*` stands for one elsewhere"
    );
    for pattern in ["", "a.", ".a", "a..b", "a.."] {
        assert_eq!(
            refused(&mut table, &binding(pattern)),
            format!(
                "pattern {pattern:?}: a word is empty; remove the dot beside it, or let `*` stand \
                 for a word"
            )
        );
    }
}

#[test]
fn arguments() {
    let mut table = table("h", Kind::Headers);
    let binding = Binding::to_queue("h", QueueId(1), "");
    for mode in [&b"most"[..], b"", b"ALL"] {
        assert_eq!(
            refused(&mut table, &binding.with(&[("x-match", Some(mode))])),
            "binding of exchange \"h\", argument \"x-match\": it must be all, any, all-with-x or \
             any-with-x; all is the default"
        );
    }
    assert_eq!(
        refused(&mut table, &binding.with(&[("a", None), ("b", None), ("a", Some(b"1"))])),
        "binding of exchange \"h\", argument \"a\": it is given twice; give it once"
    );
    let name = "n".repeat(256);
    assert_eq!(
        refused(&mut table, &binding.with(&[(&name, None)])),
        "argument name \"nnnnnnnnnnnnnnnnnnnnnnnn\"... has 256 bytes, at most 255 are allowed: \
         shorten it"
    );
    assert_eq!(
        refused(&mut table, &binding.with(&[("a", Some(&[0; 4097]))])),
        "value of argument \"a\"... has 4097 bytes, at most 4096 are allowed: shorten it"
    );
    let names: Vec<String> = (0..=ARGUMENTS_MAX).map(|index| index.to_string()).collect();
    let many: Vec<(&str, Option<&[u8]>)> = names.iter().map(|name| (name.as_str(), None)).collect();
    assert_eq!(
        refused(&mut table, &binding.with(&many)),
        "65 arguments of a binding of \"h\": at most 64 are allowed: split them over several \
         bindings"
    );
    table.bind(&binding.with(&many[1..])).unwrap();
}

#[test]
fn weights() {
    let mut table = table("r", Kind::ConsistentHash { header: None });
    for key in ["", "0", "1001", "-1", "+1", "1.5", "ten", "65537", " 1"] {
        assert_eq!(
            refused(&mut table, &Binding::to_queue("r", QueueId(1), key)),
            format!(
                "binding of consistent-hash exchange \"r\": its routing key is the weight, a whole \
                 number from 1 to 1000, and not {key:?}"
            )
        );
    }
    bind(&mut table, "r", 1, "1");
    bind(&mut table, "r", 1, "1000");
}

#[test]
fn loops() {
    let mut table = Table::new(1);
    for name in ["a", "b", "c"] {
        table.declare_exchange(name, Declaration::new(Kind::Fanout)).unwrap();
    }
    table.bind(&Binding::to_exchange("a", "b", "")).unwrap();
    table.bind(&Binding::to_exchange("b", "c", "")).unwrap();
    assert_eq!(
        refused(&mut table, &Binding::to_exchange("c", "a", "")),
        "binding exchange \"c\" to \"a\" would make a loop, c -> a -> b -> c: unbind one of these \
         first"
    );
}

#[test]
fn full_tables() {
    // Too many to try; what they say is what counts.
    let error = Error::TooMany {
        what: "binding \"k\" of \"t\" is one too many".to_owned(),
        limit: BINDINGS_MAX,
        advice: "remove some that are not used",
    };
    assert_eq!(
        error.to_string(),
        "binding \"k\" of \"t\" is one too many: at most 16777216 are allowed: remove some that \
         are not used"
    );
}
