//! What the sources declare: constants and functions, each with its documentation.

use std::collections::BTreeMap;
use std::fs;

use pointsub_tests::sources::{self, root};

/// A declaration with the documentation above it, on one line.
pub(crate) struct Documented {
    pub(crate) doc: String,
    pub(crate) line: String,
}

/// Every line of code in a file with its doc comment, if it has one.
pub(crate) fn documented(text: &str) -> Vec<Documented> {
    let (mut doc, mut found) = (String::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            doc = format!("{doc} {}", more.trim()).trim().to_owned();
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            found.push(Documented { doc: std::mem::take(&mut doc), line: line.to_owned() });
        }
    }
    found
}

/// Links as plain code: they lead nowhere outside the documentation.
pub(crate) fn plain(doc: &str) -> String {
    let mut text = String::new();
    let mut rest = doc;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((label, after)) = link.split_once(']') else { break };
        text.push_str(before);
        text.push_str(label);
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    (text + rest).replace('|', "\\|")
}

/// All constants below a folder, by file and name: value and documentation.
pub(crate) fn constants(place: &str) -> BTreeMap<(String, String), (String, String)> {
    let (root, mut files, mut found) = (root(), Vec::new(), BTreeMap::new());
    match root.join(place) {
        path if path.is_dir() => sources::below(&path, &mut files),
        file => files.push(file),
    }
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable source file");
        let code = text.split("#[cfg(test)]").next().expect("at least one part");
        let short = file.strip_prefix(&root).expect("below the root").display().to_string();
        for Documented { doc, line } in documented(code) {
            let Some((_, declared)) = line.split_once("const ") else { continue };
            let Some((name, rest)) = declared.split_once(": ") else { continue };
            if !name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
                continue;
            }
            let Some((of_type, value)) = rest.split_once(" = ") else { continue };
            // The wire has numbers of eight bits; the rest are no numbers.
            if !["usize", "u64", "u32", "u16", "i32", "Duration"].contains(&of_type) {
                continue;
            }
            let value = value.trim_end_matches(';').to_owned();
            found.insert((short.clone(), name.to_owned()), (value, doc));
        }
    }
    found
}

/// `64 * 1024` as a person writes it.
pub(crate) fn readable(value: &str) -> String {
    let text = value.replace(" * 1024 * 1024", " MiB").replace(" * 1024", " KiB");
    let text = text.replace("Duration::from_secs(15 * 60)", "15 min").replace('_', " ");
    match text.strip_prefix("Duration::from") {
        Some(duration) if duration.ends_with(')') => {
            let (unit, number) = duration.trim_end_matches(')').split_once('(').expect("a number");
            format!("{number} {}", if unit.trim() == "secs" { "s" } else { "ms" })
        }
        _ => text,
    }
}
