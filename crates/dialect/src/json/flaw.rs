//! What is wrong with a text that is not JSON as we accept it, and where.

/// Where and why a text is refused. As small as it can be: every step of the scanner may return one, and what fits a
/// register costs nothing while nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    at: u32,
    what: What,
}

impl Flaw {
    #[cold]
    pub fn new(at: usize, what: What) -> Self {
        Flaw { at: u32::try_from(at).unwrap_or(u32::MAX), what }
    }

    /// The byte, counted from zero; texts are smaller than 4 GiB.
    pub fn at(self) -> usize {
        self.at as usize
    }

    pub fn what(self) -> What {
        self.what
    }
}

/// The rules of the grammar that a text can break, and our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    NoValue,
    EndsBeforeValue,
    AfterEnd,
    NoObject,
    NoArray,
    NoMember,
    NoColon,
    NoCommaOrBrace,
    NoCommaOrBracket,
    TooDeep,
    /// Of a tree; the scanner itself keeps nothing.
    TooMany,
    LeadingZero,
    NoDigit,
    NoString,
    ControlCharacter,
    EndsInString,
    NoSuchEscape,
    NoHexDigits,
    LoneSurrogate,
    NotUtf8,
    ByteOrderMark,
    BodyNoObject,
}

impl What {
    /// As it stands behind "The body is not valid JSON at byte 7: ".
    pub const fn text(self) -> &'static str {
        match self {
            What::NoValue => "a value was expected",
            What::EndsBeforeValue => "the text ends where a value was expected",
            What::AfterEnd => "there is something after the end of the document",
            What::NoObject => "an object was expected",
            What::NoArray => "an array was expected",
            What::NoMember => "a member's name in quotes was expected",
            What::NoColon => "`:` was expected",
            What::NoCommaOrBrace => "`,` or `}` was expected",
            What::NoCommaOrBracket => "`,` or `]` was expected",
            What::TooDeep => "nesting is deeper than 128 levels",
            What::TooMany => "it holds more than 1,048,576 values",
            What::LeadingZero => "a number may not begin with a zero",
            What::NoDigit => "a digit was expected",
            What::NoString => "a string was expected",
            What::ControlCharacter => "a control character stands in a string without an escape",
            What::EndsInString => "the text ends inside a string",
            What::NoSuchEscape => "there is no such escape",
            What::NoHexDigits => "four hexadecimal digits were expected after `\\u`",
            What::LoneSurrogate => "a lone surrogate stands in a string",
            What::NotUtf8 => "it is not UTF-8",
            What::ByteOrderMark => "it begins with a byte order mark",
            What::BodyNoObject => "the body must be an object",
        }
    }
}
