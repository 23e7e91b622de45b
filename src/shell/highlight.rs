//! Colours for the line being typed: an unknown command is red before Enter.

use owo_colors::OwoColorize;

use super::call;
use super::grammar::{self, Kind, Token};
use super::scope::Scope;

pub(super) fn line(line: &str, scope: &Scope) -> String {
    let (tokens, _) = grammar::scan(line);
    let mut painted = String::with_capacity(line.len() * 2);
    let mut end = 0;
    let mut command_next = true;
    for token in &tokens {
        painted.push_str(&line[end..token.start]);
        let text = &line[token.start..token.end];
        let is_last = token.end == line.len();
        painted.push_str(&match &token.kind {
            Kind::Word(_) if command_next => command(text, is_last, scope),
            Kind::Word(_) => argument(text),
            Kind::Operator(_) => text.bold().to_string(),
            Kind::Comment => text.dimmed().to_string(),
            Kind::Newline => text.to_owned(),
        });
        end = token.end;
        command_next = starts_command(token, command_next);
    }
    painted.push_str(&line[end..]);
    painted
}

fn starts_command(token: &Token, before: bool) -> bool {
    match token.kind {
        Kind::Word(_) => false,
        Kind::Operator(_) | Kind::Newline => true,
        Kind::Comment => before,
    }
}

fn command(text: &str, still_typed: bool, scope: &Scope) -> String {
    let known = call::find(text).is_some() || scope.aliases.contains_key(text);
    if known {
        return text.green().to_string();
    }
    let may_become = still_typed
        && (call::rows().any(|row| row.manual().name.starts_with(text))
            || scope.aliases.keys().any(|alias| alias.starts_with(text)));
    if may_become {
        text.to_owned()
    } else {
        text.red().to_string()
    }
}

fn argument(text: &str) -> String {
    match text.chars().next() {
        Some('-') => text.cyan().to_string(),
        Some('\'' | '"') => text.yellow().to_string(),
        Some('$') => text.magenta().to_string(),
        _ => text.to_owned(),
    }
}

pub(super) fn hint(hint: &str) -> String {
    hint.bright_black().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_is_red_before_enter() {
        let scope = Scope::default();
        let red = "\u{1b}[31m";
        assert!(line("pign 127.0.0.1", &scope).starts_with(red));
        assert!(
            !line("pin", &scope).contains(red),
            "it may still become ping"
        );
        assert!(!line("ping 127.0.0.1", &scope).contains(red));
        assert!(line("ping x && pign", &scope).contains(&format!("{red}pign")));
    }

    #[test]
    fn the_text_stays_as_it_is() {
        for text in [
            "",
            "ping 'a b",
            "echo \"$X\" # c",
            "a | b",
            "x;;y\nz \\",
            "echo é\t$(",
        ] {
            let painted = line(text, &Scope::default());
            let mut plain = String::new();
            let mut rest = painted.as_str();
            while let Some(start) = rest.find('\u{1b}') {
                plain.push_str(&rest[..start]);
                rest = &rest[start + rest[start..].find('m').expect("an SGR sequence") + 1..];
            }
            assert_eq!(plain + rest, text);
        }
    }
}
