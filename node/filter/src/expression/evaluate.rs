//! The tree on one message.

use crate::cost::Budget;
use crate::error::EvaluationError;
use crate::message::Message;

use super::Expression;
use super::functions;
use super::node::{Constant, Fold, Node, Step, Variable};
use super::operators::{self, Outcome, types};
use super::pattern::Pattern;
use super::value::{Dictionary, List, Value};

/// The value of the expression, which must be a bool.
pub(crate) fn run(
    expression: &Expression,
    message: &Message<'_>,
    budget: &mut Budget,
) -> Result<bool, EvaluationError> {
    let value = value(expression, message, budget)?;
    let Value::Bool(matches) = value else {
        return Err(EvaluationError::NotBool { found: value.type_name() });
    };
    Ok(matches)
}

/// The value of the expression.
pub(crate) fn value<'a>(
    expression: &'a Expression,
    message: &'a Message<'a>,
    budget: &mut Budget,
) -> Outcome<'a> {
    let locals = vec![Ok(Value::Null); expression.slots];
    let mut run = Run { message, locals, budget };
    run.evaluate(&expression.root)
}

struct Run<'a, 'b> {
    message: &'a Message<'a>,
    /// The variables of comprehensions. What is accumulated may be an error, which `||` and `&&`
    /// may yet turn into an answer.
    locals: Vec<Outcome<'a>>,
    budget: &'b mut Budget,
}

impl<'a> Run<'a, '_> {
    fn evaluate(&mut self, node: &'a Node) -> Outcome<'a> {
        self.budget.charge(1)?;
        match node {
            Node::Constant(constant) => Ok(Value::from_constant(constant)),
            Node::Variable(variable) => self.variable(*variable),
            Node::Local(slot) => self.locals.get(*slot).cloned().unwrap_or(Ok(Value::Null)),
            Node::List(nodes) => {
                let items: Result<Vec<_>, _> = nodes.iter().map(|n| self.evaluate(n)).collect();
                items.map(Value::list)
            }
            Node::Map(entries) => self.map(entries),
            Node::Select(operand, field) => {
                let map = self.dictionary(operand)?;
                let found = operators::field(&map, field, self.budget)?;
                found.ok_or_else(|| EvaluationError::NoSuchKey { key: field.to_string() })
            }
            Node::Has(operand, field) => {
                let map = self.dictionary(operand)?;
                let found = operators::field(&map, field, self.budget)?;
                Ok(Value::Bool(found.is_some()))
            }
            Node::Index(pair) => {
                let [value, index] = &**pair;
                let value = self.evaluate(value)?;
                let index = self.evaluate(index)?;
                operators::index(&value, &index, self.budget)
            }
            Node::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                let holds = self.truth("? :", condition)?;
                self.evaluate(if holds { then } else { otherwise })
            }
            Node::And(pair) => self.logical("&&", pair, false),
            Node::Or(pair) => self.logical("||", pair, true),
            Node::Not(operand) => Ok(Value::Bool(!self.truth("!", operand)?)),
            Node::NotStrictlyFalse(operand) => match self.truth("all", operand) {
                Err(error) if error.is_final() => Err(error),
                outcome => Ok(Value::Bool(outcome.unwrap_or(true))),
            },
            Node::Negate(operand) => operators::negate(&self.evaluate(operand)?),
            Node::Binary(operator, pair) => {
                let [left, right] = &**pair;
                let left = self.evaluate(left)?;
                let right = self.evaluate(right)?;
                operators::binary(*operator, &left, &right, self.budget)
            }
            Node::InConstants(operand, constants) => self.in_constants(operand, constants),
            Node::Call(function, arguments) => {
                if let [argument] = &**arguments {
                    let argument = [self.evaluate(argument)?];
                    return functions::call(*function, &argument, self.budget);
                }
                let values: Result<Vec<_>, _> =
                    arguments.iter().map(|argument| self.evaluate(argument)).collect();
                functions::call(*function, &values?, self.budget)
            }
            Node::Matches(operand, pattern) => self.matches(operand, pattern),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    fn variable(&mut self, variable: Variable) -> Outcome<'a> {
        let message = self.message;
        Ok(match variable {
            Variable::Headers => Value::Map(Dictionary::Headers(message)),
            Variable::Meta => Value::Map(Dictionary::Meta(message)),
            Variable::Key => {
                // It is checked to be UTF-8.
                self.budget.charge_bytes(message.key().map_or(0, <[u8]>::len))?;
                message.key().map_or(Value::Null, Value::from_bytes)
            }
            Variable::Body => Value::from_json(message.json()?),
        })
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Outcome<'a> {
        let mut built: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.evaluate(key)?;
            if !operators::is_key(&key) {
                return Err(types("{}", &[&key]));
            }
            for (other, _) in &built {
                if operators::equal(other, &key, self.budget)? {
                    return Err(EvaluationError::DuplicateKey);
                }
            }
            let value = self.evaluate(value)?;
            built.push((key, value));
        }
        Ok(Value::Map(Dictionary::Built(built.into())))
    }

    fn dictionary(&mut self, operand: &'a Node) -> Result<Dictionary<'a>, EvaluationError> {
        let value = self.evaluate(operand)?;
        if let Value::Map(map) = value { Ok(map) } else { Err(types(".", &[&value])) }
    }

    fn truth(&mut self, operation: &'static str, node: &'a Node) -> Result<bool, EvaluationError> {
        let value = self.evaluate(node)?;
        if let Value::Bool(value) = value { Ok(value) } else { Err(types(operation, &[&value])) }
    }

    /// One side that decides is enough, whatever is wrong with the other.
    fn logical(
        &mut self,
        operation: &'static str,
        pair: &'a [Node; 2],
        deciding: bool,
    ) -> Outcome<'a> {
        let [left, right] = pair;
        let left = match self.truth(operation, left) {
            Err(error) if error.is_final() => return Err(error),
            Ok(value) if value == deciding => return Ok(Value::Bool(deciding)),
            left => left,
        };
        match self.truth(operation, right) {
            Err(error) if error.is_final() => Err(error),
            Ok(value) if value == deciding => Ok(Value::Bool(deciding)),
            right => left.and(right).map(Value::Bool),
        }
    }

    fn in_constants(&mut self, operand: &'a Node, constants: &'a [Constant]) -> Outcome<'a> {
        let value = self.evaluate(operand)?;
        for constant in constants {
            if operators::equal(&Value::from_constant(constant), &value, self.budget)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }

    fn matches(&mut self, operand: &'a Node, pattern: &Pattern) -> Outcome<'a> {
        let value = self.evaluate(operand)?;
        let Value::Text(text) = &value else { return Err(types("matches", &[&value])) };
        pattern.matches(text, self.budget).map(Value::Bool)
    }

    fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.evaluate(&fold.range)?;
        let list = if let Value::List(list) = range {
            list
        } else if let Value::Map(map) = &range {
            map.charge_keys(self.budget)?;
            List::Built(map.keys().into())
        } else {
            return Err(types("comprehension", &[&range]));
        };
        let initial = self.evaluate(&fold.initial)?;
        self.set(fold.result, Ok(initial));
        for index in 0..list.len() {
            if !self.truth("comprehension", &fold.condition)? {
                break;
            }
            let Some(element) = list.get(index) else { break };
            self.set(fold.element, Ok(element));
            self.step(fold)?;
        }
        let last = self.evaluate(&fold.last);
        // Nobody sees them again; what they hold may be large.
        self.set(fold.result, Ok(Value::Null));
        self.set(fold.element, Ok(Value::Null));
        last
    }

    fn step(&mut self, fold: &'a Fold) -> Result<(), EvaluationError> {
        match &fold.step {
            Step::Replace(node) => {
                let outcome = self.evaluate(node);
                let may_recover = matches!(node, Node::And(_) | Node::Or(_));
                match outcome {
                    Err(error) if error.is_final() || !may_recover => return Err(error),
                    outcome => self.set(fold.result, outcome),
                }
            }
            Step::Append(condition, node) => {
                if let Some(condition) = condition
                    && !self.truth("filter", condition)?
                {
                    return Ok(());
                }
                let item = self.evaluate(node)?;
                let Some(slot) = self.locals.get_mut(fold.result) else { return Ok(()) };
                let list = std::mem::replace(slot, Ok(Value::Null))?;
                let grown = operators::append(list, item, self.budget)?;
                self.set(fold.result, Ok(grown));
            }
        }
        Ok(())
    }

    fn set(&mut self, slot: usize, outcome: Outcome<'a>) {
        if let Some(local) = self.locals.get_mut(slot) {
            *local = outcome;
        }
    }
}
