//! Partitions by script: see [`crate::tests::script`].

mod any_order;
mod overlay;
mod reads;

use crate::tests::script;

macro_rules! scripts {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            let name = stringify!($name);
            script(1, name, include_str!(concat!("../scripts/", stringify!($name), ".txt")));
        }
    )+};
}

scripts!(append, refuse, idempotence, fencing, producers, retention, delete_records, delete, read);
