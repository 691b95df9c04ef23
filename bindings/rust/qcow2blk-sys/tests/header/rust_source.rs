//! What this crate declares, from its own source: Rust cannot be asked for the types of a function's parameters.

use std::collections::BTreeMap;

use crate::c_header::Signature;

pub struct Source {
    pub functions: Vec<Signature>,
    pub callbacks: Vec<Signature>,
    pub structures: BTreeMap<String, Vec<(String, String)>>,
}

impl Source {
    pub fn of_crate() -> Self {
        Self {
            functions: functions(&flat(include_str!("../../src/functions.rs"))),
            callbacks: callbacks(&flat(include_str!("../../src/callbacks.rs"))),
            structures: structures(&flat(include_str!("../../src/types.rs"))),
        }
    }
}

/// The text without comments and attributes, on one line.
fn flat(source: &str) -> String {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//") && !line.starts_with("#["));
    code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn functions(code: &str) -> Vec<Signature> {
    code.split("pub fn ").skip(1).map(signature).collect()
}

fn callbacks(code: &str) -> Vec<Signature> {
    let types = code.split("pub type ").skip(1);
    types.map(|text| signature(&text.replacen("= unsafe extern \"C\" fn", "", 1))).collect()
}

/// `NAME(a: A, b: B) -> R;`
fn signature(text: &str) -> Signature {
    let (declaration, _) = text.split_once(';').expect("a declaration ends");
    let (name, rest) = declaration.split_once('(').expect("a function has parameters");
    let (parameters, result) = rest.split_once(')').expect("parameters end");
    Signature {
        name: name.trim().to_owned(),
        parameters: names_and_types(parameters),
        result: result.replace("->", "").trim().to_owned(),
    }
}

/// Those with public fields: handles have none.
fn structures(code: &str) -> BTreeMap<String, Vec<(String, String)>> {
    code.split("pub struct ")
        .skip(1)
        .map(|text| text.split_once('{').expect("a structure has fields"))
        .map(|(name, rest)| (name, rest.split_once('}').expect("fields end").0))
        .filter(|(_, fields)| fields.contains("pub "))
        .map(|(name, fields)| (name.trim().to_owned(), names_and_types(&fields.replace("pub ", ""))))
        .collect()
}

fn names_and_types(list: &str) -> Vec<(String, String)> {
    list.split(',')
        .filter(|item| !item.trim().is_empty())
        .map(|item| item.split_once(':').expect("a name and a type"))
        .map(|(name, kind)| (name.trim().to_owned(), kind.trim().to_owned()))
        .collect()
}
