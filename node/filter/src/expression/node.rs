//! The compiled tree: names are resolved, patterns are compiled, what can be wrong without a
//! message has been found.

use super::pattern::Pattern;

/// One expression.
#[derive(Debug)]
pub(crate) enum Node {
    Constant(Constant),
    Variable(Variable),
    /// A variable of a comprehension.
    Local(usize),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Select(Box<Node>, Box<str>),
    Has(Box<Node>, Box<str>),
    Index(Box<[Node; 2]>),
    Conditional(Box<[Node; 3]>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// False if the expression is; true also if it fails.
    NotStrictlyFalse(Box<Node>),
    Binary(Operator, Box<[Node; 2]>),
    /// `in` a list of constants, which is not built.
    InConstants(Box<Node>, Vec<Constant>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Pattern),
    Fold(Box<Fold>),
}

/// A comprehension.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) range: Node,
    /// The slot of the element.
    pub(crate) element: usize,
    /// The slot of what is accumulated.
    pub(crate) result: usize,
    pub(crate) initial: Node,
    /// Whether to go on.
    pub(crate) condition: Node,
    pub(crate) step: Step,
    pub(crate) last: Node,
}

/// What a comprehension does with each element.
#[derive(Debug)]
pub(crate) enum Step {
    /// The accumulated value becomes this one.
    Replace(Node),
    /// If there is no condition or it holds, the list grows by this value.
    Append(Option<Node>, Node),
}

/// A value that the text writes down.
#[derive(Debug, Clone)]
pub(crate) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Type(&'static str),
}

/// What there is of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Variable {
    Headers,
    Key,
    Body,
    Meta,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

impl Operator {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Type,
    Bool,
    Bytes,
    Double,
    Int,
    String,
    Uint,
}

impl Function {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Type => "type",
            Self::Bool => "bool",
            Self::Bytes => "bytes",
            Self::Double => "double",
            Self::Int => "int",
            Self::String => "string",
            Self::Uint => "uint",
        }
    }
}
