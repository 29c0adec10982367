//! A gRPC contract as lines, one for each thing that a client may depend upon: calls, fields with
//! number and type, values of enums. A line that goes or changes breaks somebody; one that comes is
//! fine.

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto,
};

/// The lines of a package, sorted.
///
/// # Panics
/// Where the descriptors are none, or hold nothing of the package.
#[must_use]
pub fn lines(descriptors: &[u8], package: &str) -> Vec<String> {
    let set = FileDescriptorSet::decode(descriptors).expect("encoded by the build of the contract");
    let mut lines = Vec::new();
    for file in set.file.iter().filter(|file| file.package() == package) {
        for message in &file.message_type {
            of_message(package, message, &mut lines);
        }
        for values in &file.enum_type {
            of_enum(package, values, &mut lines);
        }
        for service in &file.service {
            let name = format!("{package}.{}", service.name());
            lines.extend(service.method.iter().map(|method| of_method(&name, method)));
        }
    }
    assert!(!lines.is_empty(), "there is no package {package}");
    lines.sort();
    lines
}

fn of_method(service: &str, method: &MethodDescriptorProto) -> String {
    let stream = |is: bool| if is { "stream " } else { "" };
    format!(
        "rpc {service}/{} {}{} -> {}{}",
        method.name(),
        stream(method.client_streaming()),
        method.input_type(),
        stream(method.server_streaming()),
        method.output_type(),
    )
}

fn of_enum(outer: &str, values: &EnumDescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{outer}.{}", values.name());
    let of_value = |value: &prost_types::EnumValueDescriptorProto| {
        format!("enum {name} {} = {}", value.name(), value.number())
    };
    lines.extend(values.value.iter().map(of_value));
}

fn of_message(outer: &str, message: &DescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{outer}.{}", message.name());
    for nested in &message.nested_type {
        of_message(&name, nested, lines);
    }
    for values in &message.enum_type {
        of_enum(&name, values, lines);
    }
    lines.extend(message.field.iter().map(|field| of_field(&name, message, field)));
}

fn of_field(name: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let kind = field.r#type();
    let kind = if matches!(kind, Type::Message | Type::Enum) {
        field.type_name().to_owned()
    } else {
        format!("{kind:?}").to_lowercase()
    };
    let label = if field.label() == Label::Repeated {
        "repeated "
    } else if field.proto3_optional() {
        "optional "
    } else {
        ""
    };
    let choice = match field.oneof_index {
        Some(index) if !field.proto3_optional() => {
            let index = usize::try_from(index).expect("an index is not negative");
            format!(" in {}", message.oneof_decl[index].name())
        }
        _ => String::new(),
    };
    format!("field {name} {} = {}: {label}{kind}{choice}", field.name(), field.number())
}

/// What is frozen and isn't there now, and what is there now and isn't frozen.
#[must_use]
pub fn compare(frozen: &[&str], now: &[String]) -> (Vec<String>, Vec<String>) {
    let gone = frozen.iter().filter(|line| !now.iter().any(|n| n == *line));
    let new = now.iter().filter(|line| !frozen.contains(&line.as_str()));
    (gone.map(|line| (*line).to_owned()).collect(), new.cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_number_is_a_line_that_goes_and_one_that_comes() {
        let frozen = ["field a.B c = 1: bytes"];
        let now = ["field a.B c = 2: bytes".to_owned()];
        let (gone, new) = compare(&frozen, &now);
        assert_eq!(gone, frozen);
        assert_eq!(new, now);
    }
}
