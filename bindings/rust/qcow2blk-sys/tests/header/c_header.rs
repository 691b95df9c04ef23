//! What the C header declares, in the words of Rust.

use std::collections::BTreeMap;
use std::path::Path;

/// A function or a callback.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    /// Name and type of each.
    pub parameters: Vec<(String, String)>,
    /// Empty if there is no result.
    pub result: String,
}

pub struct Header {
    pub functions: Vec<Signature>,
    pub callbacks: Vec<Signature>,
    pub structures: BTreeMap<String, Vec<(String, String)>>,
    pub constants: Vec<String>,
}

impl Header {
    pub fn installed() -> Self {
        let path = Path::new(env!("QCOW2BLK_INCLUDE")).join("qcow2blk.h");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read the header {}: {error}", path.display()));
        Self::parse(&without_comments(&text.replace("\\\n", " ")))
    }

    fn parse(text: &str) -> Self {
        let mut header =
            Self { functions: vec![], callbacks: vec![], structures: BTreeMap::new(), constants: constants(text) };
        // Lines of the preprocessor have no semicolons of their own.
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join(" ");
        let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
        let code = code.strip_prefix("extern \"C\" {").expect("the header can be used by C++");
        for declaration in declarations(code) {
            if let Some(prototype) = declaration.strip_prefix("QCOW2BLK_API ") {
                header.functions.push(signature(prototype));
            } else if let Some(body) = declaration.strip_prefix("struct ").filter(|rest| rest.contains('{')) {
                let (name, fields) = body.split_once('{').expect("a structure has a body");
                let fields = fields.trim_end_matches('}').split(';').filter(|field| !field.trim().is_empty());
                header.structures.insert(name.trim().to_owned(), fields.map(name_and_type).collect());
            } else if let Some(prototype) = declaration.strip_prefix("typedef ").filter(|rest| rest.contains('(')) {
                header.callbacks.push(signature(prototype));
            } else {
                let is_handle = declaration.starts_with("typedef struct ");
                assert!(is_handle, "the header has something that this test does not know: {declaration}");
            }
        }
        header
    }
}

/// Whether a macro says that the header has a function, and nothing else.
pub fn is_have(name: &str) -> bool {
    name.starts_with("QCOW2BLK_HAVE_")
}

/// The macros that have a value, but for those that are there for compilers.
fn constants(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .filter_map(|rest| rest.split_once(' '))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name != "QCOW2BLK_API")
        .collect()
}

/// Splits code at the semicolons that are not inside a structure.
fn declarations(code: &str) -> Vec<&str> {
    let mut found = vec![];
    let (mut start, mut depth) = (0, 0);
    for (at, character) in code.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => {
                found.push(code[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let mut code = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_comment, rest) = part.split_once("*/").expect("a comment ends");
        code.push_str(rest);
    }
    code
}

/// `int f (const char *a, uint32_t b)`
fn signature(prototype: &str) -> Signature {
    let (head, parameters) = prototype.trim_end_matches(')').split_once('(').expect("a prototype has parameters");
    let (name, result) = name_and_type(head);
    let parameters =
        if parameters.trim() == "void" { vec![] } else { parameters.split(',').map(name_and_type).collect() };
    Signature { name, parameters, result: if result == "c_void" { String::new() } else { result } }
}

/// `const struct iovec *iov` gives `("iov", "*const iovec")`.
fn name_and_type(declaration: &str) -> (String, String) {
    let declaration = declaration.trim();
    let start = declaration.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    (declaration[start..].to_owned(), rust_type(&declaration[..start]))
}

fn rust_type(c: &str) -> String {
    let words: Vec<&str> = c.split(|character: char| character == '*' || character.is_whitespace()).collect();
    let is_const = words.contains(&"const");
    let base: Vec<&str> = words.into_iter().filter(|word| !["", "const", "struct"].contains(word)).collect();
    let base = match base.as_slice() {
        ["void"] => "c_void",
        ["char"] => "c_char",
        ["int"] => "c_int",
        ["double"] => "f64",
        ["int32_t"] => "i32",
        ["uint32_t"] => "u32",
        ["int64_t"] => "i64",
        ["uint64_t"] => "u64",
        ["size_t"] => "usize",
        ["ssize_t"] => "isize",
        // An array of handles, which stay as they are.
        [name] if c.replace(' ', "") == format!("{name}*const*") => return format!("*const *mut {name}"),
        [name] if name.starts_with("qcow2blk_") || *name == "iovec" => name,
        _ => panic!("the header has a type that this test does not know: {c}"),
    };
    match c.matches('*').count() {
        0 => base.to_owned(),
        1 if base.ends_with("_fn") => format!("Option<{base}>"),
        1 if is_const => format!("*const {base}"),
        1 => format!("*mut {base}"),
        2 if !is_const => format!("*mut *mut {base}"),
        _ => panic!("the header has a type that this test does not know: {c}"),
    }
}
