//! A declaration -> the text of a file in `schemas/`, and the fingerprint of what it says.
//! Runs on: any thread; pure.
//! Never: leaves out what reading the text again would not fill in by itself.

use sha2::{Digest, Sha256};

use super::literal::toml_value;
use super::{Declaration, NewColumns, Strictness};
use crate::quote_name;

impl Declaration {
    /// The declaration as TOML. Reading it gives an equal declaration.
    pub fn to_toml(&self) -> String {
        let mut lines = vec![format!("name = {}", text(&self.name_text()))];
        lines.extend(self.description.as_ref().map(|words| format!("description = {}", text(words))));
        lines.push(format!("mode = \"{}\"", self.mode.as_str()));
        if !self.primary_key.is_empty() {
            let columns: Vec<String> = self.primary_key.iter().map(|column| text(column)).collect();
            lines.push(format!("primary_key = [{}]", columns.join(", ")));
        }
        lines.push(format!("on_new_column = \"{}\"", self.on_new_column.as_str()));
        if self.dead_letters {
            lines.push("dead_letters = true".to_owned());
        }
        for field in &self.fields {
            lines.push(String::new());
            lines.push("[[field]]".to_owned());
            lines.push(format!("name = {}", text(&field.name)));
            lines.push(format!("type = {}", text(&field.data_type.text)));
            // Key columns hold no NULL without saying so.
            if !field.nullable && !self.primary_key.contains(&field.name) {
                lines.push("nullable = false".to_owned());
            }
            let default = field.default.as_deref().and_then(|literal| toml_value(literal, &field.data_type));
            lines.extend(default.map(|value| format!("default = {value}")));
            if field.is_indexed {
                lines.push("is_indexed = true".to_owned());
            }
            lines.extend(field.description.as_ref().map(|words| format!("description = {}", text(words))));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// The table's name as the key `name` takes it.
    fn name_text(&self) -> String {
        let part = |part: &str| if part.contains(['.', '"']) { quote_name(part) } else { part.to_owned() };
        self.name.parts().map(part).collect::<Vec<_>>().join(".")
    }

    /// SHA-256 of what is declared, in hexadecimal: equal for files that say the same in other words.
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.to_toml()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Strictness {
    /// As declarations spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Strictness::Strict => "strict",
            Strictness::Lenient => "lenient",
        }
    }
}

impl NewColumns {
    /// As declarations spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            NewColumns::Reject => "reject",
            NewColumns::Add => "add",
        }
    }
}

/// A TOML string on one line.
fn text(value: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
