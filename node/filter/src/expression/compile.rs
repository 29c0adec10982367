//! From the parser's tree to ours.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue,
    SelectExpr, operators,
};
use cel::{ParseErrors, Program};

use crate::error::{FilterError, Position};
use crate::limits::COMPREHENSION_DEPTH_MAX;

use super::Expression;
use super::node::{Constant, Fold, Function, Node, Operator, Step, Variable};
use super::pattern::Pattern;

/// Deeper than any text that has been scanned: macros add a few levels to each of its own.
const TREE_DEPTH_MAX: usize = 512;

/// Compiles a text that has been scanned.
pub(crate) fn compile(text: &str) -> Result<Expression, FilterError> {
    // The parser is generated code with assertions of its own.
    let parsed = catch_unwind(AssertUnwindSafe(|| Program::compile(text)));
    let program = match parsed {
        Ok(Ok(program)) => program,
        Ok(Err(errors)) => return Err(syntax(text, &errors)),
        Err(_) => {
            let problem = "the parser gave up on this expression".to_owned();
            return Err(FilterError::expression(text, Position::at_offset(text, 0), problem));
        }
    };
    let mut compiler =
        Compiler { text, program: &program, scope: Vec::new(), slots: 0, folds: 0, depth: 0 };
    let root = compiler.node(program.expression())?;
    Ok(Expression { root, slots: compiler.slots })
}

/// The first error; the others are mostly its consequences.
fn syntax(text: &str, errors: &ParseErrors) -> FilterError {
    let Some(error) = errors.errors.first() else {
        let position = Position::at_offset(text, 0);
        return FilterError::expression(text, position, "not an expression".to_owned());
    };
    let (line, column) = error.pos;
    let number = |n: isize| usize::try_from(n).unwrap_or(1).max(1);
    let position = Position::at_column(text, number(line), number(column));
    FilterError::expression(text, position, error.msg.clone())
}

struct Compiler<'t> {
    text: &'t str,
    program: &'t Program,
    /// The variables of the comprehensions around, by their slots.
    scope: Vec<String>,
    slots: usize,
    /// Comprehensions around.
    folds: usize,
    depth: usize,
}

impl Compiler<'_> {
    fn node(&mut self, expr: &IdedExpr) -> Result<Node, FilterError> {
        if self.depth >= TREE_DEPTH_MAX {
            return Err(self.wrong(expr, format!("nested deeper than {TREE_DEPTH_MAX}")));
        }
        self.depth = self.depth.saturating_add(1);
        let node = self.node_below(expr);
        self.depth = self.depth.saturating_sub(1);
        node
    }

    fn node_below(&mut self, expr: &IdedExpr) -> Result<Node, FilterError> {
        match &expr.expr {
            Expr::Literal(literal) => Ok(Node::Constant(constant(literal))),
            Expr::Ident(name) => self.name(expr, name),
            Expr::Select(SelectExpr { operand, field, test }) => {
                let operand = Box::new(self.node(operand)?);
                let field = field.as_str().into();
                Ok(if *test { Node::Has(operand, field) } else { Node::Select(operand, field) })
            }
            Expr::List(list) if !list.optional_indices.is_empty() => Err(self.no_optionals(expr)),
            Expr::List(list) => self.nodes(&list.elements).map(Node::List),
            Expr::Map(map) => {
                let entries = map.entries.iter().map(|entry| self.entry(expr, entry));
                entries.collect::<Result<_, _>>().map(Node::Map)
            }
            Expr::Call(call) => self.call(expr, call),
            Expr::Comprehension(comprehension) => self.comprehension(expr, comprehension),
            Expr::Struct(_) => {
                Err(self.wrong(expr, "messages can't be built in a filter".to_owned()))
            }
            Expr::Unspecified => Err(self.wrong(expr, "not an expression".to_owned())),
        }
    }

    fn nodes(&mut self, exprs: &[IdedExpr]) -> Result<Vec<Node>, FilterError> {
        exprs.iter().map(|expr| self.node(expr)).collect()
    }

    fn entry(
        &mut self,
        expr: &IdedExpr,
        entry: &IdedEntryExpr,
    ) -> Result<(Node, Node), FilterError> {
        match &entry.expr {
            EntryExpr::MapEntry(entry) if entry.optional => Err(self.no_optionals(expr)),
            EntryExpr::MapEntry(entry) => Ok((self.node(&entry.key)?, self.node(&entry.value)?)),
            EntryExpr::StructField(_) => Err(self.wrong(expr, "not a map".to_owned())),
        }
    }

    fn name(&mut self, expr: &IdedExpr, name: &str) -> Result<Node, FilterError> {
        if let Some(slot) = self.scope.iter().rposition(|each| each == name) {
            return Ok(Node::Local(slot));
        }
        Ok(match name.strip_prefix('.').unwrap_or(name) {
            "headers" => Node::Variable(Variable::Headers),
            "key" => Node::Variable(Variable::Key),
            "body" => Node::Variable(Variable::Body),
            "meta" => Node::Variable(Variable::Meta),
            "bool" => Node::Constant(Constant::Type("bool")),
            "bytes" => Node::Constant(Constant::Type("bytes")),
            "double" => Node::Constant(Constant::Type("double")),
            "int" => Node::Constant(Constant::Type("int")),
            "list" => Node::Constant(Constant::Type("list")),
            "map" => Node::Constant(Constant::Type("map")),
            "null_type" => Node::Constant(Constant::Type("null_type")),
            "string" => Node::Constant(Constant::Type("string")),
            "type" => Node::Constant(Constant::Type("type")),
            "uint" => Node::Constant(Constant::Type("uint")),
            unknown => {
                let problem =
                    format!("there is no `{unknown}`: a message has headers, key, body and meta");
                return Err(self.wrong(expr, problem));
            }
        })
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<Node, FilterError> {
        if call.target.is_none()
            && let Some(node) = self.operator(expr, call)?
        {
            return Ok(node);
        }
        let name = call.func_name.as_str();
        let arguments: Vec<&IdedExpr> =
            call.target.as_deref().into_iter().chain(&call.args).collect();
        let is_method = call.target.is_some();
        match (name, is_method, &*arguments) {
            ("dyn", false, [value]) => self.node(value),
            ("matches", _, [text, pattern]) => self.matches(text, pattern),
            ("contains", true, [_, _])
            | ("startsWith", true, [_, _])
            | ("endsWith", true, [_, _])
            | ("size", _, [_])
            | ("type" | "bool" | "bytes" | "double" | "int" | "string" | "uint", false, [_]) => {
                let function = match name {
                    "contains" => Function::Contains,
                    "startsWith" => Function::StartsWith,
                    "endsWith" => Function::EndsWith,
                    "size" => Function::Size,
                    "type" => Function::Type,
                    "bool" => Function::Bool,
                    "bytes" => Function::Bytes,
                    "double" => Function::Double,
                    "int" => Function::Int,
                    "uint" => Function::Uint,
                    _ => Function::String,
                };
                let nodes: Result<_, _> = arguments.into_iter().map(|a| self.node(a)).collect();
                Ok(Node::Call(function, nodes?))
            }
            _ => Err(self.unknown_function(expr, call)),
        }
    }

    fn unknown_function(&self, expr: &IdedExpr, call: &CallExpr) -> FilterError {
        let name = &call.func_name;
        let problem = match name.as_str() {
            "timestamp" | "duration" | "getFullYear" | "getHours" => {
                "there are no timestamps and durations: compare meta.timestamp_ms, an int"
                    .to_owned()
            }
            "contains" | "startsWith" | "endsWith" if call.target.is_none() => {
                format!("write `text.{name}(...)`, with one argument")
            }
            "has" | "all" | "exists" | "exists_one" | "map" | "filter" => {
                format!("`{name}` has other arguments than these")
            }
            "_?._" | "_[?_]" => return self.no_optionals(expr),
            _ => format!("there is no function `{name}` with {} arguments here", call.args.len()),
        };
        self.wrong(expr, problem)
    }

    /// Operators are calls with odd names.
    fn operator(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<Option<Node>, FilterError> {
        let name = call.func_name.as_str();
        Ok(Some(match (name, &*call.args) {
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let parts = [self.node(condition)?, self.node(then)?, self.node(otherwise)?];
                Node::Conditional(Box::new(parts))
            }
            (operators::LOGICAL_NOT, [operand]) => Node::Not(Box::new(self.node(operand)?)),
            (operators::NEGATE, [operand]) => Node::Negate(Box::new(self.node(operand)?)),
            (operators::NOT_STRICTLY_FALSE, [operand]) => {
                Node::NotStrictlyFalse(Box::new(self.node(operand)?))
            }
            (name, [left, right]) => {
                let operator = match name {
                    operators::LOGICAL_AND | operators::LOGICAL_OR | operators::INDEX => None,
                    operators::ADD => Some(Operator::Add),
                    operators::SUBSTRACT => Some(Operator::Subtract),
                    operators::MULTIPLY => Some(Operator::Multiply),
                    operators::DIVIDE => Some(Operator::Divide),
                    operators::MODULO => Some(Operator::Remainder),
                    operators::EQUALS => Some(Operator::Equal),
                    operators::NOT_EQUALS => Some(Operator::NotEqual),
                    operators::LESS => Some(Operator::Less),
                    operators::LESS_EQUALS => Some(Operator::LessEqual),
                    operators::GREATER => Some(Operator::Greater),
                    operators::GREATER_EQUALS => Some(Operator::GreaterEqual),
                    operators::IN => Some(Operator::In),
                    operators::OPT_INDEX | operators::OPT_SELECT => {
                        return Err(self.no_optionals(expr));
                    }
                    _ => return Ok(None),
                };
                let pair = Box::new([self.node(left)?, self.node(right)?]);
                match operator {
                    Some(Operator::In) => in_list(*pair),
                    Some(operator) => Node::Binary(operator, pair),
                    None if name == operators::LOGICAL_AND => Node::And(pair),
                    None if name == operators::LOGICAL_OR => Node::Or(pair),
                    None => Node::Index(pair),
                }
            }
            _ => return Ok(None),
        }))
    }

    fn matches(&mut self, text: &IdedExpr, pattern: &IdedExpr) -> Result<Node, FilterError> {
        let Expr::Literal(LiteralValue::String(literal)) = &pattern.expr else {
            let problem = "the pattern of matches must be a string literal".to_owned();
            return Err(self.wrong(pattern, problem));
        };
        let compiled = Pattern::compile(literal.inner())
            .map_err(|error| self.wrong(pattern, error.to_string()))?;
        Ok(Node::Matches(Box::new(self.node(text)?), compiled))
    }

    fn comprehension(
        &mut self,
        expr: &IdedExpr,
        comprehension: &ComprehensionExpr,
    ) -> Result<Node, FilterError> {
        if comprehension.iter_var2.is_some() {
            return Err(self.wrong(expr, "a comprehension has one variable".to_owned()));
        }
        let range = self.node(&comprehension.iter_range)?;
        let initial = self.node(&comprehension.accu_init)?;
        if self.folds >= COMPREHENSION_DEPTH_MAX {
            let problem = format!(
                "comprehensions (all, exists, map, ...) nest deeper than {COMPREHENSION_DEPTH_MAX}"
            );
            return Err(self.wrong(expr, problem));
        }
        self.folds = self.folds.saturating_add(1);
        let result = self.scope.len();
        self.scope.push(comprehension.accu_var.clone());
        let element = self.scope.len();
        self.scope.push(comprehension.iter_var.clone());
        self.slots = self.slots.max(self.scope.len());
        let condition = self.node(&comprehension.loop_cond)?;
        let step = self.step(&comprehension.accu_var, &comprehension.loop_step)?;
        // The element is no longer there.
        self.scope.pop();
        let last = self.node(&comprehension.result)?;
        self.scope.pop();
        self.folds = self.folds.saturating_sub(1);
        let fold = Fold { range, element, result, initial, condition, step, last };
        Ok(Node::Fold(Box::new(fold)))
    }

    /// `map` and `filter` accumulate `@result + [x]`; that would copy the list for each element.
    fn step(&mut self, accumulator: &str, expr: &IdedExpr) -> Result<Step, FilterError> {
        if let Some(item) = appended(accumulator, expr) {
            return Ok(Step::Append(None, self.node(item)?));
        }
        if let Expr::Call(CallExpr { func_name, target: None, args }) = &expr.expr
            && func_name == operators::CONDITIONAL
            && let [condition, then, otherwise] = &**args
            && matches!(&otherwise.expr, Expr::Ident(name) if name == accumulator)
            && let Some(item) = appended(accumulator, then)
        {
            return Ok(Step::Append(Some(self.node(condition)?), self.node(item)?));
        }
        Ok(Step::Replace(self.node(expr)?))
    }

    fn no_optionals(&self, expr: &IdedExpr) -> FilterError {
        self.wrong(expr, "optional values aren't offered: ask with has(a.b)".to_owned())
    }

    fn wrong(&self, expr: &IdedExpr, problem: String) -> FilterError {
        let offset = self.program.source_info().offset_for(expr.id).map_or(0, |(start, _)| start);
        let offset = usize::try_from(offset).unwrap_or(0);
        FilterError::expression(self.text, Position::at_offset(self.text, offset), problem)
    }
}

/// `x` of `accumulator + [x]`.
fn appended<'e>(accumulator: &str, expr: &'e IdedExpr) -> Option<&'e IdedExpr> {
    let Expr::Call(CallExpr { func_name, target: None, args }) = &expr.expr else { return None };
    match &**args {
        [IdedExpr { expr: Expr::Ident(name), .. }, IdedExpr { expr: Expr::List(list), .. }]
            if name == accumulator
                && func_name == operators::ADD
                && list.optional_indices.is_empty() =>
        {
            match &*list.elements {
                [item] => Some(item),
                _ => None,
            }
        }
        _ => None,
    }
}

fn in_list(pair: [Node; 2]) -> Node {
    let as_constant = |node: &Node| {
        if let Node::Constant(constant) = node { Some(constant.clone()) } else { None }
    };
    let [operand, list] = pair;
    if let Node::List(nodes) = &list
        && let Some(constants) = nodes.iter().map(as_constant).collect()
    {
        return Node::InConstants(Box::new(operand), constants);
    }
    Node::Binary(Operator::In, Box::new([operand, list]))
}

fn constant(literal: &LiteralValue) -> Constant {
    match literal {
        LiteralValue::Null => Constant::Null,
        LiteralValue::Boolean(value) => Constant::Bool(*value.inner()),
        LiteralValue::Int(value) => Constant::Int(*value.inner()),
        LiteralValue::UInt(value) => Constant::Uint(*value.inner()),
        LiteralValue::Double(value) => Constant::Double(*value.inner()),
        LiteralValue::String(text) => Constant::Text(text.inner().into()),
        LiteralValue::Bytes(bytes) => Constant::Bytes(bytes.inner().into()),
    }
}
