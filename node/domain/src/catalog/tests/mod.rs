//! The catalog by script: see [`crate::tests::script`].

mod any_order;
mod exchanges;

use crate::tests::script;

macro_rules! scripts {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            let name = stringify!($name);
            script(0, name, include_str!(concat!("../scripts/", stringify!($name), ".txt")));
        }
    )+};
}

scripts!(found, nodes, topics, settings, placement, plans);
