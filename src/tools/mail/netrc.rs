//! `~/.netrc`: `machine HOST login NAME password WORD`, in any layout.

/// The password of the first entry for this host that has this user, or none named.
pub(super) fn password(text: &str, host: &str, user: &str) -> Option<String> {
    let words = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(words);
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let is_ours = match word.as_str() {
            "machine" => words.next()?.eq_ignore_ascii_case(host),
            "default" => true,
            _ => continue,
        };
        let (mut login, mut password) = (None, None);
        while let Some(key) = words.next_if(|word| !matches!(word.as_str(), "machine" | "default"))
        {
            match key.as_str() {
                "login" => login = words.next(),
                "password" => password = words.next(),
                "account" => _ = words.next(),
                _ => {}
            }
        }
        let is_user = login.is_none_or(|login| login == user);
        if is_ours && is_user && password.is_some() {
            return password;
        }
    }
    None
}

/// Separated by blanks; quotes keep blanks together, and a backslash the next character.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_whitespace() && !is_quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::password;

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
            assert_eq!(
                password(text, host, user).as_deref(),
                expected,
                "{host} {user}"
            );
        }
        assert_eq!(password("machine", "a", "b"), None);
        assert_eq!(password("machine a password", "a", "b"), None);
    }
}
