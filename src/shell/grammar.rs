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

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `;` or the end of a line.
    Sequence,
    /// `&`
    Background,
    /// `&&`
    And,
    /// `||`
    Or,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Octets of the source.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Word(Vec<Segment>),
    Operator(Operator),
    Newline,
    Comment,
}

/// A word's parts, quotes still on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Text(String),
    Variable {
        name: String,
        default: Option<String>,
        offset: usize,
        in_quotes: bool,
    },
    /// `$@`: a word for each argument.
    Arguments {
        in_quotes: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) segments: Vec<Segment>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) offset: usize,
    pub(crate) fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// More input may mend it.
    Unfinished(&'static str),
    Reserved(char),
    CommandExpected(&'static str),
    BadVariable(String),
    Nul,
}

impl SyntaxError {
    pub(crate) fn is_unfinished(&self) -> bool {
        matches!(self.fault, Fault::Unfinished(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unfinished(what) => write!(f, "{what}"),
            Fault::Reserved(c) => {
                write!(
                    f,
                    "'{c}' means nothing here; quote it ('{c}') to pass it on as it is"
                )
            }
            Fault::CommandExpected(operator) => write!(f, "a command is missing at '{operator}'"),
            Fault::BadVariable(text) => {
                write!(
                    f,
                    "cannot read '{text}'; write $NAME, ${{NAME}} or ${{NAME:-default}}"
                )
            }
            Fault::Nul => write!(f, "a NUL octet; this is not a script"),
        }
    }
}

/// All tokens up to the end or to the first fault. The editor colours and completes with it.
pub(crate) fn scan(source: &str) -> (Vec<Token>, Option<SyntaxError>) {
    let mut scanner = Scanner {
        source,
        at: 0,
        tokens: Vec::new(),
    };
    let error = scanner.run().err();
    (scanner.tokens, error)
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

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Scanner<'_> {
    fn run(&mut self) -> Result<(), SyntaxError> {
        while let Some(c) = self.peek() {
            let start = self.at;
            let kind = match c {
                ' ' | '\t' => {
                    self.at += 1;
                    continue;
                }
                '\\' if self.continuation()? => continue,
                '\n' => self.one(Kind::Newline),
                '#' => {
                    self.at += self.rest().find('\n').unwrap_or(self.rest().len());
                    Kind::Comment
                }
                ';' => self.one(Kind::Operator(Operator::Sequence)),
                '&' if self.rest().starts_with("&&") => self.two(Operator::And),
                '&' => self.one(Kind::Operator(Operator::Background)),
                '|' if self.rest().starts_with("||") => self.two(Operator::Or),
                _ => {
                    let mut segments = Vec::new();
                    let read = self.word(&mut segments);
                    if read.is_err() {
                        // The editor still wants to see the unfinished word.
                        self.tokens.push(Token {
                            kind: Kind::Word(segments),
                            start,
                            end: self.at,
                        });
                        return read;
                    }
                    Kind::Word(segments)
                }
            };
            self.tokens.push(Token {
                kind,
                start,
                end: self.at,
            });
        }
        Ok(())
    }

    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn one(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }

    fn two(&mut self, operator: Operator) -> Kind {
        self.at += 2;
        Kind::Operator(operator)
    }

    fn fault(&self, offset: usize, fault: Fault) -> SyntaxError {
        SyntaxError { offset, fault }
    }

    /// A backslash before a line's end joins the lines.
    fn continuation(&mut self) -> Result<bool, SyntaxError> {
        let joins = self.rest().starts_with("\\\n");
        if joins && self.rest().len() == 2 {
            return Err(self.fault(self.at, Fault::Unfinished("no line follows the backslash")));
        }
        if joins {
            self.at += 2;
        }
        Ok(joins)
    }

    fn word(&mut self, segments: &mut Vec<Segment>) -> Result<(), SyntaxError> {
        segments.extend(self.tilde());
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' => break,
                '|' if self.rest().starts_with("||") => break,
                '|' | '<' | '>' | '(' | ')' | '`' => {
                    return Err(self.fault(self.at, Fault::Reserved(c)));
                }
                '\0' => return Err(self.fault(self.at, Fault::Nul)),
                '\\' => self.escape(segments)?,
                '\'' => self.single_quotes(segments)?,
                '"' => self.double_quotes(segments)?,
                '$' => self.variable(segments, false)?,
                _ => self.text(segments, c.len_utf8()),
            }
        }
        Ok(())
    }

    /// `~` or `~/` at a word's start is the home folder.
    fn tilde(&mut self) -> Option<Segment> {
        let after = self.rest().strip_prefix('~')?;
        let ends = |c: char| c == '/' || c.is_ascii_whitespace() || c == ';' || c == '&';
        if !after.chars().next().is_none_or(ends) {
            return None;
        }
        let offset = self.at;
        self.at += 1;
        Some(Segment::Variable {
            name: "HOME".to_owned(),
            default: None,
            offset,
            in_quotes: false,
        })
    }

    /// Moves `octets` of the source, as they stand, to the word.
    fn text(&mut self, segments: &mut Vec<Segment>, octets: usize) {
        let text = &self.source[self.at..self.at + octets];
        match segments.last_mut() {
            Some(Segment::Text(last)) => last.push_str(text),
            _ => segments.push(Segment::Text(text.to_owned())),
        }
        self.at += octets;
    }

    fn escape(&mut self, segments: &mut Vec<Segment>) -> Result<(), SyntaxError> {
        if self.continuation()? {
            return Ok(());
        }
        match self.rest().chars().nth(1) {
            None => Err(self.fault(self.at, Fault::Unfinished("nothing follows the backslash"))),
            Some('\0') => Err(self.fault(self.at + 1, Fault::Nul)),
            Some(c) => {
                self.text(segments, 1 + c.len_utf8());
                Ok(())
            }
        }
    }

    fn single_quotes(&mut self, segments: &mut Vec<Segment>) -> Result<(), SyntaxError> {
        let start = self.at;
        let quoted = &self.rest()[1..];
        match quoted.find(['\'', '\0']) {
            Some(end) if quoted[end..].starts_with('\'') => {
                self.text(segments, end + 2);
                Ok(())
            }
            Some(end) => Err(self.fault(start + 1 + end, Fault::Nul)),
            None => {
                self.text(segments, self.rest().len());
                Err(self.fault(start, Fault::Unfinished("the quote ' is not closed")))
            }
        }
    }

    fn double_quotes(&mut self, segments: &mut Vec<Segment>) -> Result<(), SyntaxError> {
        const ALL_ARGUMENTS: &str = "\"$@\"";
        let start = self.at;
        if self.rest().starts_with(ALL_ARGUMENTS) {
            segments.push(Segment::Arguments { in_quotes: false });
            self.at += ALL_ARGUMENTS.len();
            return Ok(());
        }
        self.text(segments, 1);
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.text(segments, 1);
                    return Ok(());
                }
                '\0' => return Err(self.fault(self.at, Fault::Nul)),
                '\\' if self.rest().len() > 1 => self.escape(segments)?,
                '$' => self.variable(segments, true)?,
                _ => self.text(segments, c.len_utf8()),
            }
        }
        Err(self.fault(start, Fault::Unfinished("the quote \" is not closed")))
    }

    fn variable(
        &mut self,
        segments: &mut Vec<Segment>,
        in_quotes: bool,
    ) -> Result<(), SyntaxError> {
        let offset = self.at;
        let after = &self.source[self.at + 1..];
        if after.starts_with('(') {
            return Err(self.fault(offset + 1, Fault::Reserved('(')));
        }
        if let Some(braced) = after.strip_prefix('{') {
            let Some(end) = braced.find('}') else {
                return Err(self.fault(offset, Fault::Unfinished("the brace of ${ is not closed")));
            };
            let (name, default) = match braced[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (&braced[..end], None),
            };
            if !is_name(name) && !is_special(name) {
                let text = format!("${{{}}}", &braced[..end]);
                return Err(self.fault(offset, Fault::BadVariable(text)));
            }
            let name = name.to_owned();
            self.at += 3 + end;
            segments.push(variable(name, default, offset, in_quotes));
            return Ok(());
        }
        let name_octets = match after.chars().next() {
            Some('?' | '!' | '#' | '@' | '$' | '0'..='9') => 1,
            _ => after
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(after.len()),
        };
        if name_octets == 0 {
            // A lone dollar sign stands for itself; escaped, because shlex knows no variables.
            self.at += 1;
            segments.push(Segment::Text("\\$".to_owned()));
            return Ok(());
        }
        let name = after[..name_octets].to_owned();
        self.at += 1 + name_octets;
        segments.push(variable(name, None, offset, in_quotes));
        Ok(())
    }
}

fn variable(name: String, default: Option<String>, offset: usize, in_quotes: bool) -> Segment {
    if name == "@" {
        Segment::Arguments { in_quotes }
    } else {
        Segment::Variable {
            name,
            default,
            offset,
            in_quotes,
        }
    }
}

/// Letters, digits and underscores, no digit first.
pub(crate) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_special(text: &str) -> bool {
    matches!(text, "?" | "!" | "#" | "@" | "$")
        || (text.len() == 1 && text.starts_with(|c: char| c.is_ascii_digit()))
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

    /// The commands with their words in `<>` and the operators between them.
    fn shown(source: &str) -> Result<String, SyntaxError> {
        let arguments = ["one".to_owned(), "t w".to_owned()];
        let words = |command: &Command| {
            let expanded = command
                .words
                .iter()
                .map(|word| expand(word, &value, &arguments));
            let words = expanded.flat_map(|words| words.unwrap_or(vec!["UNSET".to_owned()]));
            words.map(|word| format!("<{word}>")).collect::<String>()
        };
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
        check_error("a $(b)", 3, Fault::Reserved('('));
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
            println!("skipped: there is no bash to compare with");
            return;
        };
        for (source, bash) in sources.iter().zip(answers) {
            let ours = shown(source).expect("chosen above").replace(';', "");
            assert_eq!(ours, bash, "{source:?}");
        }
    }

    /// Every command's words in `<>`: each command name is made a function that shows them.
    fn ask_bash(sources: &[String]) -> Option<Vec<String>> {
        let script = "command_not_found_handle() { printf '<%s>' \"$@\"; }\n\
                      for s in \"$@\"; do eval \"$s\" 2>/dev/null; printf '\\0'; done";
        let output = std::process::Command::new("bash")
            .args(["--norc", "-c", script, "bash"])
            .args(sources)
            .env("PATH", "/nowhere")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.split('\0').map(str::to_owned).collect())
    }
}
