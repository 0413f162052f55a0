use thiserror::Error;

/// Why a text cannot become a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteError {
    /// The text is empty or holds nothing but white space.
    #[error("the text of a note must not be blank")]
    Blank,
    /// The text has too many characters.
    #[error("the text of a note has {chars} characters, at most {max} are allowed")]
    TooLong {
        /// How many characters the text has.
        chars: usize,
        /// How many it may have.
        max: usize,
    },
}

impl NoteError {
    /// A short, stable name of the error for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Blank => "text_blank",
            Self::TooLong { .. } => "text_too_long",
        }
    }
}
