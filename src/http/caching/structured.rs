//! Dictionaries of structured fields, RFC 8941 section 4.2.2.
//!
//! What does not parse is refused as a whole, as section 4.2 wants. Parameters are read over.

use std::collections::BTreeMap;

use crate::http::head::is_token_octet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Boolean(bool),
    Integer(i64),
    String,
    Other,
}

/// `input` is all lines of the field, joined by commas.
pub(super) fn parse_dictionary(input: &[u8]) -> Option<BTreeMap<&[u8], Value>> {
    let mut rest = Rest(input);
    let mut dictionary = BTreeMap::new();
    rest.skip(b" ");
    while !rest.0.is_empty() {
        let key = rest.key()?;
        let value = match rest.take(b'=') {
            Some(()) => rest.member()?,
            None => Value::Boolean(true),
        };
        rest.parameters()?;
        dictionary.insert(key, value);
        rest.skip(b" \t");
        if rest.0.is_empty() {
            break;
        }
        rest.take(b',')?;
        rest.skip(b" \t");
        if rest.0.is_empty() {
            return None;
        }
    }
    Some(dictionary)
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, octet: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[octet])?;
        Some(())
    }

    fn skip(&mut self, octets: &[u8]) {
        self.take_while(|octet| octets.contains(&octet));
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|octet| !belongs(*octet));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let begins = matches!(self.0.first()?, b'a'..=b'z' | b'*');
        let belongs = |octet: u8| {
            octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"_-.*".contains(&octet)
        };
        begins.then(|| self.take_while(belongs))
    }

    fn member(&mut self) -> Option<Value> {
        match self.take(b'(') {
            Some(()) => self.inner_list(),
            None => self.bare_item(),
        }
    }

    fn inner_list(&mut self) -> Option<Value> {
        loop {
            self.skip(b" ");
            if self.take(b')').is_some() {
                return Some(Value::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.0.first()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';').is_some() {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=').is_some() {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn bare_item(&mut self) -> Option<Value> {
        match self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b':' => self.byte_sequence(),
            b'?' => self.boolean(),
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                self.take_while(|octet| is_token_octet(octet) || b":/".contains(&octet));
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let is_negative = self.take(b'-').is_some();
        let whole = self.take_while(|octet| octet.is_ascii_digit());
        if self.take(b'.').is_some() {
            let decimals = self.take_while(|octet| octet.is_ascii_digit());
            let fits = (1..=12).contains(&whole.len()) && (1..=3).contains(&decimals.len());
            return fits.then_some(Value::Other);
        }
        if whole.len() > 15 {
            return None;
        }
        let number: i64 = str::from_utf8(whole).ok()?.parse().ok()?;
        Some(Value::Integer(if is_negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<Value> {
        self.take(b'"')?;
        loop {
            self.take_while(|octet| matches!(octet, b' '..=b'~') && !b"\"\\".contains(&octet));
            if self.take(b'"').is_some() {
                return Some(Value::String);
            }
            self.take(b'\\')?;
            self.take(b'"').or_else(|| self.take(b'\\'))?;
        }
    }

    fn byte_sequence(&mut self) -> Option<Value> {
        self.take(b':')?;
        self.take_while(|octet| octet.is_ascii_alphanumeric() || b"+/=".contains(&octet));
        self.take(b':')?;
        Some(Value::Other)
    }

    fn boolean(&mut self) -> Option<Value> {
        self.take(b'?')?;
        let is_true = self.take(b'1').is_some();
        (is_true || self.take(b'0').is_some()).then_some(Value::Boolean(is_true))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &[(&str, Value)]) {
        let expected = expected.iter().map(|(key, value)| (key.as_bytes(), *value));
        assert_eq!(
            parse_dictionary(input.as_bytes()),
            Some(expected.collect()),
            "{input}"
        );
    }

    #[test]
    fn dictionaries() {
        use Value::{Boolean, Integer, Other, String};
        check("", &[]);
        check("  a ", &[("a", Boolean(true))]);
        check("a=1 ,\tb=-2", &[("a", Integer(1)), ("b", Integer(-2))]);
        check(
            "a=?0, b=?1;x",
            &[("a", Boolean(false)), ("b", Boolean(true))],
        );
        check(r#"a="x, \"y\\""#, &[("a", String)]);
        check("a=1.5, b=tok/en:x", &[("a", Other), ("b", Other)]);
        check(
            r#"a=( 1 "b";c=2 );d;e=:YQ==:, f"#,
            &[("a", Other), ("f", Boolean(true))],
        );
        check("a=1, b, a=2", &[("a", Integer(2)), ("b", Boolean(true))]);
        check("*k_-.9=0", &[("*k_-.9", Integer(0))]);
        check("a=999999999999999", &[("a", Integer(999_999_999_999_999))]);
    }

    #[test]
    fn what_does_not_parse_is_refused_as_a_whole() {
        for input in [
            "a,",
            ",a",
            "a,,b",
            "a b",
            "A",
            "a=",
            "a =1",
            "a= 1",
            "a=--1",
            "a=-",
            "a=1.",
            "a=.5",
            "a=1.2345",
            "a=1234567890123.1",
            "a=1000000000000000",
            "a=\"",
            "a=\"\\x\"",
            "a=\"ü\"",
            "a='1'",
            "a=?2",
            "a=?",
            "a=:Y",
            "a=:*:",
            "a=(1 2",
            "a=(1\"b\")",
            "a=((1))",
            "a;B",
            "a;b=",
            "a=@1",
            "max-age=10000, &&&&&",
            "\ta",
        ] {
            assert_eq!(parse_dictionary(input.as_bytes()), None, "{input}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(input in "([a-c*]|[=,;?(): \"\\\\.-]|[0-9]{1,3}|\\PC){0,30}") {
            let _ = parse_dictionary(input.as_bytes());
        }
    }
}
