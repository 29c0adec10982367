//! Where a message goes. Nothing here changes the table, and in the long run nothing allocates.

use super::{Node, Table};
use crate::Error;
use crate::binding::{Candidate, Verdict};
use crate::headers::Headers;
use crate::limits::KEY_BYTES_MAX;
use crate::routed::{Reached, Routed};

impl Table {
    /// Finds the queues that a message goes to, each once however many bindings lead there, and
    /// answers whether there are any.
    ///
    /// Where an exchange's bindings choose no destination, its alternate exchange is asked, and
    /// that one's alternate in turn; no exchange is asked twice. `headers` may be `&()` for none,
    /// and is looked at by headers exchanges and by consistent-hash exchanges of a header.
    ///
    /// # Errors
    /// [`Error::UnknownExchange`], [`Error::DefaultExchange`] (which see [`Table`] for), and
    /// [`Error::TooLong`] for a routing key above [`KEY_BYTES_MAX`] bytes.
    pub fn route<H: Headers + ?Sized>(
        &self,
        exchange: &str,
        key: &str,
        headers: &H,
        routed: &mut Routed,
    ) -> Result<bool, Error> {
        self.route_keys(exchange, &[key], headers, routed)
    }

    /// The same for a message with several routing keys (AMQP's CC and BCC headers): it goes
    /// wherever one of them leads, and to an alternate exchange only where none of them leads
    /// anywhere. Without keys only fanout and headers exchanges choose anything.
    ///
    /// # Errors
    /// As [`Table::route`].
    pub fn route_keys<H: Headers + ?Sized>(
        &self,
        exchange: &str,
        keys: &[&str],
        headers: &H,
        routed: &mut Routed,
    ) -> Result<bool, Error> {
        self.route_where(exchange, keys, headers, routed, |_| Verdict::Accepted)
    }

    /// The same, to queues and through gates only where `accept` takes them: a binding that leads
    /// to one that it refuses is not chosen. One that is undecided is chosen, so that no alternate
    /// exchange is asked in its place, but not reached: with any of them the answer is not the last
    /// one. It is asked for each of them until it accepts it, once for each binding and key that
    /// leads there.
    ///
    /// # Errors
    /// As [`Table::route`].
    pub fn route_where<H: Headers + ?Sized>(
        &self,
        exchange: &str,
        keys: &[&str],
        headers: &H,
        routed: &mut Routed,
        mut accept: impl FnMut(Candidate) -> Verdict,
    ) -> Result<bool, Error> {
        let Routed { reached, scratch } = routed;
        reached.queues.clear();
        let first = self.find_exchange(exchange)?;
        for key in keys {
            Error::check_length("routing key", key, KEY_BYTES_MAX)?;
        }
        reached.waiting.clear();
        reached.seen.clear(self.targets.bound());
        self.reach(self.exchanges.get(first).target, reached);
        while let Some(id) = reached.waiting.pop() {
            let exchange = self.exchanges.get(id);
            let mut is_chosen = false;
            exchange.index.route(keys, headers, scratch, |target| {
                let candidate = match self.targets.get(target).node {
                    Node::Queue(queue) => Some(Candidate::Queue(queue)),
                    Node::Gate { gate, .. } => Some(Candidate::Gate(gate)),
                    Node::Exchange(_) => None,
                };
                let verdict = match candidate {
                    Some(candidate) if !reached.seen.is_marked(target) => accept(candidate),
                    _ => Verdict::Accepted,
                };
                is_chosen |= verdict != Verdict::Refused;
                if verdict == Verdict::Accepted {
                    self.reach(target, reached);
                }
            });
            if !is_chosen
                && let Some(name) = &exchange.declaration.alternate
                && let Some(alternate) = self.names.get(name)
            {
                self.reach(self.exchanges.get(*alternate).target, reached);
            }
        }
        Ok(!reached.queues.is_empty())
    }

    fn reach(&self, target: u32, reached: &mut Reached) {
        if !reached.seen.mark(target) {
            return;
        }
        match self.targets.get(target).node {
            Node::Queue(queue) => reached.queues.push(queue),
            Node::Exchange(exchange) => reached.waiting.push(exchange),
            Node::Gate { exchange, .. } => self.reach(self.exchanges.get(exchange).target, reached),
        }
    }
}
