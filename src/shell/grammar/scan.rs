//! One quote-aware pass over the source: words, operators and comments with their positions.

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

const OPEN_SINGLE_QUOTE: &str = "the quote ' is not closed";
const OPEN_DOUBLE_QUOTE: &str = "the quote \" is not closed";

impl SyntaxError {
    /// The character that further input must hold to mend it.
    pub(crate) fn missing(&self) -> Option<char> {
        match self.fault {
            Fault::Unfinished(OPEN_SINGLE_QUOTE) => Some('\''),
            Fault::Unfinished(OPEN_DOUBLE_QUOTE) => Some('"'),
            _ => None,
        }
    }

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
                    "cannot read '{text}'; write $NAME, ${{NAME}} or ${{NAME:-plain text}}"
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
                Err(self.fault(start, Fault::Unfinished(OPEN_SINGLE_QUOTE)))
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
        Err(self.fault(start, Fault::Unfinished(OPEN_DOUBLE_QUOTE)))
    }

    fn variable(
        &mut self,
        segments: &mut Vec<Segment>,
        in_quotes: bool,
    ) -> Result<(), SyntaxError> {
        let offset = self.at;
        let after = &self.source[self.at + 1..];
        if after.starts_with('(') {
            return Err(self.fault(offset, Fault::BadVariable("$(".to_owned())));
        }
        if let Some(braced) = after.strip_prefix('{') {
            let Some(end) = braced.find('}') else {
                return Err(self.fault(offset, Fault::Unfinished("the brace of ${ is not closed")));
            };
            let (name, default) = match braced[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (&braced[..end], None),
            };
            // A default is taken as it stands, so what would mean something is refused.
            let is_plain = |default: &String| !default.contains(['$', '\'', '"', '\\', '`']);
            let is_known = is_name(name) || is_special(name);
            if !is_known || !default.as_ref().is_none_or(is_plain) {
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
