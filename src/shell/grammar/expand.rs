//! Values into words, and the quotes off.

use super::scan::Segment;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) segments: Vec<Segment>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unset {
    pub(crate) name: String,
    pub(crate) offset: usize,
}

/// Puts values in and takes the quotes off: one word, or as many as `$@` has.
pub(crate) fn expand(
    word: &Word,
    value: &dyn Fn(&str) -> Option<String>,
    arguments: &[String],
) -> Result<Vec<String>, Unset> {
    let mut quoted = String::new();
    for segment in &word.segments {
        match segment {
            Segment::Text(text) => quoted.push_str(text),
            Segment::Variable {
                name,
                default,
                offset,
                in_quotes,
            } => {
                let value = value(name).or_else(|| default.clone());
                let value = value.ok_or_else(|| Unset {
                    name: name.clone(),
                    offset: *offset,
                })?;
                quoted.push_str(&protect(&value, *in_quotes));
            }
            Segment::Arguments { in_quotes } => {
                let separator = if *in_quotes { "\" \"" } else { " " };
                let all: Vec<String> = arguments
                    .iter()
                    .map(|value| protect(value, *in_quotes))
                    .collect();
                quoted.push_str(&all.join(separator));
            }
        }
    }
    Ok(shlex::split(&quoted).expect("the scan found the quotes closed"))
}

/// Quotes a value so that shlex gives it back whole.
fn protect(value: &str, in_quotes: bool) -> String {
    if in_quotes {
        let mut escaped = String::with_capacity(value.len());
        for c in value.chars() {
            if matches!(c, '"' | '\\' | '$' | '`') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    } else {
        quote(value)
    }
}

/// A word that reads back as `value`. A NUL, which no word can hold, is left out.
pub(crate) fn quote(value: &str) -> String {
    match shlex::try_quote(value) {
        Ok(quoted) => quoted.into_owned(),
        Err(_) => shlex::try_quote(&value.replace('\0', ""))
            .map_or_else(|_| String::new(), std::borrow::Cow::into_owned),
    }
}
