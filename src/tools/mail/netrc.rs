//! `~/.netrc`: `machine HOST login NAME password WORD`, in any layout.

use zeroize::Zeroizing;

type Word = Zeroizing<String>;

#[derive(Default)]
struct Entry {
    is_of_host: bool,
    login: Option<Word>,
    password: Option<Word>,
}

/// The password of the first entry for this host that has this user, or none named.
pub(super) fn password(text: &str, host: &str, user: &str) -> Option<Word> {
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !line.trim_start().starts_with('#'));
    let text: Zeroizing<String> = Zeroizing::new(lines.collect());
    let mut rest = text.as_str();
    let mut entry = Entry::default();
    while let Some(key) = word(&mut rest) {
        if matches!(key.as_str(), "machine" | "default") && entry.has_password_of(user) {
            break;
        }
        match key.as_str() {
            "machine" => {
                entry = Entry::default();
                entry.is_of_host = word(&mut rest)?.eq_ignore_ascii_case(host);
            }
            "default" => {
                entry = Entry::default();
                entry.is_of_host = true;
            }
            "login" => entry.login = word(&mut rest),
            "password" => entry.password = word(&mut rest),
            "account" => _ = word(&mut rest),
            "macdef" => rest = behind_macro(rest),
            _ => {}
        }
    }
    let is_found = entry.has_password_of(user);
    entry.password.filter(|_| is_found)
}

impl Entry {
    fn has_password_of(&self, user: &str) -> bool {
        let is_user = self.login.as_ref().is_none_or(|login| **login == user);
        self.is_of_host && is_user && self.password.is_some()
    }
}

/// Takes the next word. Words are separated by blanks; quotes keep blanks together, and a
/// backslash the next character. None goes on in the next line.
fn word(text: &mut &str) -> Option<Word> {
    *text = text.trim_start();
    let line = text.lines().next()?;
    // It must not grow, which would leave copies behind.
    let mut word = Zeroizing::new(String::with_capacity(line.len()));
    let mut is_quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' => word.extend(characters.next()),
            blank if blank.is_whitespace() && !is_quoted => break,
            other => word.push(other),
        }
    }
    *text = &text[line.len() - characters.as_str().len()..];
    Some(word)
}

/// A macro's name is followed by what ftp is to do, up to an empty line.
fn behind_macro(text: &str) -> &str {
    let mut lines = text.split_inclusive('\n');
    let name = lines.next().unwrap_or_default();
    let body = lines.take_while(|line| !matches!(*line, "\n" | "\r\n"));
    let octets = name.len() + body.map(str::len).sum::<usize>();
    &text[octets..]
}

#[cfg(test)]
mod tests {
    use super::password;

    #[track_caller]
    fn check(text: &str, host: &str, user: &str, expected: Option<&str>) {
        let found = password(text, host, user);
        let found = found.as_ref().map(|word| word.as_str());
        assert_eq!(found, expected, "{host} {user} in {text}");
    }

    #[test]
    fn macros_are_no_entries() {
        let body = "macdef init\nquote machine a password wrong\ndefault\npassword worse\n";
        let after = "machine a login b password right\n";
        check(&format!("{body}\n{after}"), "a", "b", Some("right"));
        check(&format!("{body}\r\n{after}"), "a", "b", Some("right"));
        check(&format!("{body}{after}"), "a", "b", None);
        // It belongs to the machine before it, whose words go on behind it.
        let around = format!("machine a login b\n{body}\npassword right\n");
        check(&around, "a", "b", Some("right"));
        let called = "machine macdef login macdef password macdef\n\nmachine c password d";
        check(called, "macdef", "macdef", Some("macdef"));
        check(called, "c", "whoever", Some("d"));
    }

    #[test]
    fn entries() {
        let text = "# mail\nmachine a.test login ann password one\nmachine a.test\n  login bob\n  \
                    password \"two words\"\nmachine b.test password back\\\\slash\ndefault login \
                    any password last\n";
        for (host, user, expected) in [
            ("a.test", "ann", Some("one")),
            ("A.TEST", "bob", Some("two words")),
            ("b.test", "whoever", Some("back\\slash")),
            ("c.test", "any", Some("last")),
            ("c.test", "ann", None),
        ] {
            check(text, host, user, expected);
        }
        check("machine", "a", "b", None);
        check("machine a password", "a", "b", None);
        check(
            "machine a password \"no end\nlogin b",
            "a",
            "b",
            Some("no end"),
        );
    }
}
