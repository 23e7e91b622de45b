//! `--to-file`: who gets a message of their own.

use std::path::Path;

use super::files::text_of;
use super::message::address::Mailbox;
use crate::tool::Error;

/// So many go over one connection where the server lets them.
const MESSAGES_MAX: usize = 10_000;

/// The mailboxes of each line; those of one line see each other.
pub(super) fn read(file: &Path) -> Result<Vec<Vec<Mailbox>>, Error> {
    parse(&text_of(file)?).map_err(|error| Error::Usage(format!("{}{error}", file.display())))
}

fn parse(text: &str) -> Result<Vec<Vec<Mailbox>>, String> {
    let mut lists = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let list = Mailbox::parse_list(line)
            .map_err(|error| format!(":{}: '{line}': {error}", index + 1))?;
        lists.push(list);
        if lists.len() > MESSAGES_MAX {
            return Err(format!(" has more than {MESSAGES_MAX} lines"));
        }
    }
    match lists.is_empty() {
        true => Err(" has no mailbox".to_owned()),
        false => Ok(lists),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], &str>) {
        let found = parse(text).map(|lists| {
            let joined = lists.iter().map(|list| {
                let addresses = list.iter().map(|mailbox| mailbox.address.to_string());
                addresses.collect::<Vec<_>>().join(" ")
            });
            joined.collect::<Vec<_>>()
        });
        let found = found
            .as_ref()
            .map(|lists| lists.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found.as_deref().map_err(|error| error.as_str()), expected);
    }

    #[test]
    fn a_message_for_each_line() {
        check("a@b.c\n", Ok(&["a@b.c"]));
        check(
            "\u{feff}Ann <a@b.c>, b@b.c\r\n\r\n# the others\n  c@b.c  ",
            Ok(&["a@b.c b@b.c", "c@b.c"]),
        );
        check("", Err(" has no mailbox"));
        check("# nobody\n", Err(" has no mailbox"));
        let many = "a@b.c\n".repeat(MESSAGES_MAX + 1);
        check(&many, Err(" has more than 10000 lines"));
        assert_eq!(parse(&many[6..]).map(|lists| lists.len()), Ok(MESSAGES_MAX));
        let error = parse("a@b.c\n\nnobody\n").expect_err("no address");
        assert!(error.starts_with(":3: 'nobody': "), "{error}");
    }
}
