//! The language: one quote-aware scan finds words, operators and variables with their
//! positions; `shlex` then takes the quotes off each word.
//!
//! ```text
//! list    := andor ((';' | '&' | NEWLINE) andor)*
//! andor   := command (('&&' | '||') command)*
//! command := WORD+
//! ```
//!
//! Words are as in sh, with four differences: a value is never split again, an empty value
//! is an empty word, an unset variable is an error, and `| < > ( )` and backticks outside
//! quotes are errors, so that they stay free.

mod expand;
mod scan;

pub(crate) use expand::{Word, expand, quote};
use scan::{Fault, SyntaxError};
pub(crate) use scan::{Kind, Operator, Token, is_name, scan};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) words: Vec<Word>,
}

impl Command {
    pub(crate) fn start(&self) -> usize {
        self.words[0].start
    }

    pub(crate) fn end(&self) -> usize {
        self.words[self.words.len() - 1].end
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AndOr {
    pub(crate) first: Command,
    /// With the operator before each: `And` or `Or`.
    pub(crate) rest: Vec<(Operator, Command)>,
    pub(crate) background: bool,
}

impl AndOr {
    pub(crate) fn end(&self) -> usize {
        self.rest
            .last()
            .map_or(self.first.end(), |(_, command)| command.end())
    }
}
pub(crate) fn parse(source: &str) -> Result<Vec<AndOr>, SyntaxError> {
    let (tokens, error) = scan(source);
    // What is wrong further left is told first.
    match (list(tokens, source.len()), error) {
        (Err(earlier), Some(error))
            if !earlier.is_unfinished() && earlier.offset < error.offset =>
        {
            Err(earlier)
        }
        (_, Some(error)) => Err(error),
        (list, None) => list,
    }
}
/// Groups tokens into and-or lists.
fn list(tokens: Vec<Token>, end: usize) -> Result<Vec<AndOr>, SyntaxError> {
    let mut lists: Vec<AndOr> = Vec::new();
    let mut open: Option<AndOr> = None;
    let mut connector: Option<Operator> = None;
    let mut words: Vec<Word> = Vec::new();
    let missing = |operator, offset| SyntaxError {
        offset,
        fault: Fault::CommandExpected(operator),
    };
    for token in tokens {
        let operator = match token.kind {
            Kind::Comment => continue,
            Kind::Word(segments) => {
                words.push(Word {
                    segments,
                    start: token.start,
                    end: token.end,
                });
                continue;
            }
            // A line may end after && and ||, and be empty.
            Kind::Newline if words.is_empty() => continue,
            Kind::Newline => Operator::Sequence,
            Kind::Operator(operator) if words.is_empty() => {
                return Err(missing(spelling(operator), token.start));
            }
            Kind::Operator(operator) => operator,
        };
        close_command(&mut open, &mut connector, &mut words);
        match operator {
            Operator::And | Operator::Or => connector = Some(operator),
            Operator::Sequence | Operator::Background => {
                if let Some(mut list) = open.take() {
                    list.background = operator == Operator::Background;
                    lists.push(list);
                }
            }
        }
    }
    if words.is_empty() && connector.is_some() {
        let fault = Fault::Unfinished("a command is missing at the end");
        return Err(SyntaxError { offset: end, fault });
    }
    if !words.is_empty() {
        close_command(&mut open, &mut connector, &mut words);
    }
    lists.extend(open);
    Ok(lists)
}

fn close_command(
    open: &mut Option<AndOr>,
    connector: &mut Option<Operator>,
    words: &mut Vec<Word>,
) {
    let command = Command {
        words: std::mem::take(words),
    };
    match (open.as_mut(), connector.take()) {
        (Some(list), Some(operator)) => list.rest.push((operator, command)),
        _ => {
            *open = Some(AndOr {
                first: command,
                rest: Vec::new(),
                background: false,
            })
        }
    }
}

fn spelling(operator: Operator) -> &'static str {
    match operator {
        Operator::Sequence => ";",
        Operator::Background => "&",
        Operator::And => "&&",
        Operator::Or => "||",
    }
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(name: &str) -> Option<String> {
        match name {
            "V" => Some("a b".to_owned()),
            "W" => Some("x\"y'z\\$`".to_owned()),
            "E" => Some(String::new()),
            "?" => Some("0".to_owned()),
            _ => None,
        }
    }

    /// A command's words in `<>`.
    fn words(command: &Command) -> String {
        let arguments = ["one".to_owned(), "t w".to_owned()];
        let expanded = command
            .words
            .iter()
            .map(|word| expand(word, &value, &arguments));
        let words = expanded.flat_map(|words| words.unwrap_or(vec!["UNSET".to_owned()]));
        words.map(|word| format!("<{word}>")).collect()
    }

    /// The commands with the operators between them.
    fn shown(source: &str) -> Result<String, SyntaxError> {
        let mut text = String::new();
        for list in parse(source)? {
            text.push_str(&words(&list.first));
            for (operator, command) in &list.rest {
                text.push_str(&format!("{}{}", spelling(*operator), words(command)));
            }
            text.push(if list.background { '&' } else { ';' });
        }
        Ok(text)
    }

    #[track_caller]
    fn check(source: &str, wanted: &str) {
        assert_eq!(shown(source).as_deref(), Ok(wanted), "{source:?}");
    }

    #[track_caller]
    fn check_error(source: &str, offset: usize, fault: Fault) {
        assert_eq!(
            parse(source),
            Err(SyntaxError { offset, fault }),
            "{source:?}"
        );
    }

    #[test]
    fn words_and_quotes() {
        check("ping -c 3  host", "<ping><-c><3><host>;");
        check("echo 'a b'\"c d\"e\\ f", "<echo><a bc de f>;");
        check("echo '' \"\"", "<echo><><>;");
        check("echo a#b # comment", "<echo><a#b>;");
        check("# only a comment", "");
        check("echo a\\\nb", "<echo><ab>;");
        check("echo a \\\n b", "<echo><a><b>;");
        check("echo '$V' \"\\$V\" \\$V $ 5$", "<echo><$V><$V><$V><$><5$>;");
        check("echo 'x\ny'", "<echo><x\ny>;");
    }

    #[test]
    fn operators() {
        check("a;b", "<a>;<b>;");
        check("a&&b||c", "<a>&&<b>||<c>;");
        check("a & b", "<a>&<b>;");
        check("a && b &\nc", "<a>&&<b>&<c>;");
        check("a &&\n\n b", "<a>&&<b>;");
        check("a\n\nb\n", "<a>;<b>;");
        check("", "");
        check("  \n\t\n", "");
    }

    #[test]
    fn values_are_put_in_once_and_never_split() {
        check("echo $V x$V\"$V\" ${V}y", "<echo><a b><xa ba b><a by>;");
        check("echo $W \"$W\"", "<echo><x\"y'z\\$`><x\"y'z\\$`>;");
        check("echo $E a$E", "<echo><><a>;");
        check("echo ${N:-d e} \"${N:-d}\" ${V:-d}", "<echo><d e><d><a b>;");
        check("echo $N", "<echo><UNSET>;");
        check("echo $? $1", "<echo><0><UNSET>;");
        check(
            "echo $@ \"$@\" \"x$@\"",
            "<echo><one><t w><one><t w><xone><t w>;",
        );
        check("$V", "<a b>;");
    }

    #[test]
    fn faults_and_where_they_are() {
        check_error("echo 'a", 5, Fault::Unfinished("the quote ' is not closed"));
        check_error(
            "echo \"a",
            5,
            Fault::Unfinished("the quote \" is not closed"),
        );
        check_error(
            "echo \\",
            5,
            Fault::Unfinished("nothing follows the backslash"),
        );
        check_error(
            "a &&",
            4,
            Fault::Unfinished("a command is missing at the end"),
        );
        check_error(
            "echo ${V",
            5,
            Fault::Unfinished("the brace of ${ is not closed"),
        );
        check_error("a | b", 2, Fault::Reserved('|'));
        check_error("a > f", 2, Fault::Reserved('>'));
        check_error("a $(b)", 2, Fault::BadVariable("$(".to_owned()));
        check_error("a ${N:-$V}", 2, Fault::BadVariable("${N:-$V}".to_owned()));
        check_error("a `b`", 2, Fault::Reserved('`'));
        check_error(
            "a \\\n",
            2,
            Fault::Unfinished("no line follows the backslash"),
        );
        check_error("; a", 0, Fault::CommandExpected(";"));
        check_error("a ;; b", 3, Fault::CommandExpected(";"));
        check_error("a && || b", 5, Fault::CommandExpected("||"));
        check_error("a & & b", 4, Fault::CommandExpected("&"));
        check_error("& 'x", 0, Fault::CommandExpected("&"));
        check_error("echo ${a b}", 5, Fault::BadVariable("${a b}".to_owned()));
        check_error("echo a\0", 6, Fault::Nul);
    }

    const ALPHABET: &str = "[ab \t\n'\"\\\\#$;&|{}V?W<>\r@~é\u{1F600}\u{feff}\0-]{0,24}";

    proptest! {
        #[test]
        fn no_source_panics(source in ALPHABET) {
            let _ = shown(&source);
        }

        #[test]
        fn tokens_cover_the_source_in_order(source in ALPHABET) {
            let (tokens, error) = scan(&source);
            let mut end = 0;
            for token in &tokens {
                prop_assert!(end <= token.start && token.start <= token.end);
                end = token.end;
            }
            prop_assert!(end <= source.len());
            prop_assert!(error.is_none_or(|error| error.offset <= source.len()));
        }

        #[test]
        fn a_quoted_word_comes_back(word in "[^\0]{0,20}") {
            let source = format!("echo {}", quote(&word));
            prop_assert_eq!(shown(&source), Ok(format!("<echo><{word}>;")));
        }
    }

    /// Runs sources with the same meaning in sh through bash and compares the words.
    #[test]
    fn words_are_those_of_bash() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let strategy = proptest::string::string_regex("[ab  '\"\\\\#V\n;]{0,14}").expect("a regex");
        let mut sources = Vec::new();
        while sources.len() < 400 {
            let tree = strategy.new_tree(&mut runner).expect("a value");
            let source = proptest::strategy::ValueTree::current(&tree);
            if shown(&source).is_ok() {
                sources.push(source);
            }
        }
        let Some(answers) = ask_bash(&sources) else {
            use std::io::Write;
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: there is no bash to compare with"
            );
            return;
        };
        for (source, bash) in sources.iter().zip(answers) {
            let lists = parse(source).expect("chosen above");
            let ours: String = lists.iter().map(|list| words(&list.first)).collect();
            assert_eq!(ours, bash, "{source:?}");
        }
    }

    /// Every command's words in `<>`: each command name is made a function that shows them.
    fn ask_bash(sources: &[String]) -> Option<Vec<String>> {
        let script = "PATH=/nowhere; command_not_found_handle() { printf '<%s>' \"$@\"; }\n\
                      for s in \"$@\"; do eval \"$s\" 2>/dev/null; printf '\\0'; done";
        let output = std::process::Command::new("bash")
            .args(["--norc", "-c", script, "bash"])
            .args(sources)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.split('\0').map(str::to_owned).collect())
    }
}
