//! Creates exchanges, deletes them, looks at them.

use std::sync::Arc;

use kontiki_domain::catalog::{Command, CreateExchange, Exchange, Reply};

use super::{misunderstood, unknown};
use crate::core::{Broker, Core};
use crate::error::Error;
use crate::options::bounds;
use crate::topics::Repeat;

/// An exchange, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What it was declared to be.
    pub exchange: Arc<Exchange>,
    /// How many bindings lead from it.
    pub bindings_from: u64,
}

impl Broker {
    /// Creates an exchange; when it returns, it can be used through any node. False: it was there
    /// already, just as declared.
    ///
    /// # Errors
    /// It exists and is another one, a name that can't be, a limit, or the catalog can't be asked.
    pub async fn create_exchange(&self, create: CreateExchange) -> Result<bool, Error> {
        let name = create.name.clone();
        let changed = self.0.reroute(&name, Command::CreateExchange(create)).await?;
        Ok(changed.here)
    }

    /// Deletes an exchange with all bindings that lead from it and to it; answers how many.
    ///
    /// # Errors
    /// No such exchange, with `if_unused` one from which bindings lead, or the catalog can't be
    /// asked.
    pub async fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<u64, Error> {
        let command = Command::DeleteExchange { name: name.to_owned(), if_unused };
        let changed = self.0.reroute(name, command).await?;
        Ok(changed.unbound)
    }

    /// What an exchange is.
    ///
    /// # Errors
    /// No such exchange, or the catalog can't be asked.
    pub async fn describe_exchange(&self, name: &str) -> Result<Description, Error> {
        let core = &self.0;
        core.catalog_barrier(core.default_deadline()).await?;
        core.catalog.look(|catalog| {
            let routes = catalog.routes();
            let exchange = Arc::clone(routes.exchange(name).ok_or_else(|| unknown(name))?);
            let bindings_from = routes.bindings_from(name).count() as u64;
            Ok(Description { exchange, bindings_from })
        })
    }

    /// Exchanges whose names have a prefix, after a name, at most `limit` (0 is the default); and
    /// whether more follow. The default exchange is not among them.
    ///
    /// # Errors
    /// A limit out of bounds, or no catalog yet.
    pub fn list_exchanges(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<Arc<Exchange>>, bool), Error> {
        let limit = page(limit)?;
        self.0.catalog.look(|catalog| {
            if catalog.cluster().is_none() {
                return Err(Error::not_ready());
            }
            // The prefix itself may be a name, and is the first that has it.
            let (from, inclusive) = if after < prefix { (prefix, true) } else { (after, false) };
            let rest = catalog.routes().exchanges_from(from, inclusive);
            let mut matching = rest.take_while(|exchange| exchange.name.starts_with(prefix));
            let listed = matching.by_ref().take(limit).cloned().collect();
            Ok((listed, matching.next().is_some()))
        })
    }
}

/// How many things one page of a list has.
pub(super) fn page(limit: u32) -> Result<usize, Error> {
    match limit {
        0 => Ok(bounds::LIST_DEFAULT as usize),
        limit if limit <= bounds::LIST_MAX => Ok(limit as usize),
        limit => {
            let expected = format!("at most {}, or 0 for the default", bounds::LIST_MAX);
            Err(Error::invalid("limit", limit, &expected))
        }
    }
}

/// What the catalog has changed.
pub(super) struct Changed {
    /// It was changed by this call, as far as that can be told.
    pub(super) here: bool,
    pub(super) unbound: u64,
}

impl Core {
    /// Changes exchanges and bindings, and waits until the other nodes have it. All of these
    /// commands may be committed twice without harm.
    pub(super) async fn reroute(&self, name: &str, command: Command) -> Result<Changed, Error> {
        let is_delete = matches!(command, Command::DeleteExchange { .. });
        let asked = self.persuade_catalog(command, Repeat::Always, self.default_deadline()).await;
        let changed = match asked.outcome {
            Ok(Reply::Rerouted { changed, unbound }) => {
                Changed { here: changed || asked.maybe_before, unbound }
            }
            Ok(_) => return Err(misunderstood(name)),
            // An earlier attempt has deleted it.
            Err(error) if is_delete && asked.maybe_before && error.code == unknown(name).code => {
                Changed { here: true, unbound: 0 }
            }
            Err(error) => return Err(error),
        };
        self.catalog_everywhere().await;
        Ok(changed)
    }
}
