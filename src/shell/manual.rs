//! Help, the man page and completions for other shells, all from the rows.

use clap_complete::Shell as Target;

use super::Shell;
use super::call::{self, Row};
use crate::tool::Group;

const GROUPS: [(Group, &str); 4] = [
    (Group::Network, "Network"),
    (Group::Jobs, "Jobs"),
    (Group::Scripts, "Scripts"),
    (Group::Shell, "Shell"),
];

/// All commands by group, a line each.
fn overview() -> String {
    let mut text = String::new();
    for (group, title) in GROUPS {
        text.push_str(&format!("{title}\n"));
        for manual in call::rows()
            .map(Row::manual)
            .filter(|manual| manual.group == group)
        {
            text.push_str(&format!("  {:8}  {}\n", manual.name, manual.summary));
        }
    }
    text.push_str(
        "\n'help COMMAND' shows options and examples. A command goes to the background with '&' \
         or Ctrl-Z;\n'jobs' lists what runs, 'stop' ends it. ';' '&&' '||' '#' 'quotes' and $NAME \
         work as in sh.",
    );
    text
}

impl Shell {
    /// The overview, or what `TOPIC --help` prints; the error says that there is no such topic.
    pub(crate) fn help(&self, topic: Option<&str>) -> Result<String, String> {
        match topic {
            None => Ok(overview()),
            Some(topic) => match call::find(topic) {
                Some(row) => Ok(of(row)),
                None => Err(call::unknown(topic, &self.scope().alias_names())),
            },
        }
    }
}

fn of(row: Row) -> String {
    call::command(row)
        .render_help()
        .to_string()
        .trim_end()
        .to_owned()
}

/// The man page in roff, for `nsh --man | man -l -`.
pub(crate) fn man_page(cli: clap::Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(cli);
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for row in call::rows() {
        let mut part = Vec::new();
        let man = clap_mangen::Man::new(call::command(row));
        man.render_synopsis_section(&mut part)?;
        man.render_options_section(&mut part)?;
        man.render_extra_section(&mut part)?;
        let part = String::from_utf8_lossy(&part).replace(".SH ", ".SS ");
        let part = part.replace(".SS EXTRA", ".SS \"EXAMPLES, EXIT STATUS\"");
        let manual = row.manual();
        let title = format!("{}: {}", manual.name, manual.summary);
        let title = title
            .to_uppercase()
            .replace('\\', "\\\\")
            .replace('"', "\\(dq");
        page.extend_from_slice(format!(".SH \"{title}\"\n{part}").as_bytes());
    }
    Ok(page)
}

/// A completion script for another shell; after `-c` it offers the commands.
pub(crate) fn completions(cli: clap::Command, target: Target) -> Vec<u8> {
    let names: Vec<&str> = call::rows().map(|row| row.manual().name).collect();
    let mut cli = cli.mut_arg("command", |argument| argument.value_parser(names));
    let mut script = Vec::new();
    clap_complete::generate(target, &mut cli, "nsh", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::super::grammar;
    use super::*;

    /// Every command has two examples or more, and each is a line that would run.
    #[test]
    fn examples_can_be_run() {
        for row in call::rows() {
            let manual = row.manual();
            assert!(
                manual.examples.len() >= 2,
                "{} has too few examples",
                manual.name
            );
            for example in manual.examples {
                let lists = grammar::parse(example.line).expect(example.line);
                for list in &lists {
                    let rest = list.rest.iter().map(|(_, command)| command);
                    for command in std::iter::once(&list.first).chain(rest) {
                        check(command, example.line);
                    }
                }
            }
        }
    }

    fn check(command: &grammar::Command, line: &str) {
        let value = |_: &str| Some("127.0.0.1".to_owned());
        let expand = |word| grammar::expand(word, &value, &[]).expect(line);
        let words: Vec<String> = command.words.iter().flat_map(expand).collect();
        // An alias that the example itself defines.
        let Some(row) = call::find(&words[0]) else {
            assert!(line.contains(&format!("alias {}=", words[0])), "{line}");
            return;
        };
        let parsed = call::parse(row, &words[1..]);
        assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
    }
}
