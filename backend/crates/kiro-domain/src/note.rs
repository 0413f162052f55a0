use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::NoteError;

/// The longest text a note may have, in characters.
pub const MAX_NOTE_CHARS: usize = 2000;

/// Identifies a note. Ids grow and are never used twice.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct NoteId(pub i64);

impl fmt::Display for NoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text of a note: not blank, and at most [`MAX_NOTE_CHARS`] long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
pub struct NoteText(String);

impl NoteText {
    /// Checks `text` and keeps it exactly as it was given.
    ///
    /// # Errors
    ///
    /// Says which rule the text breaks.
    pub fn parse(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        if text.trim().is_empty() {
            return Err(NoteError::Blank);
        }
        let chars = text.chars().count();
        if chars > MAX_NOTE_CHARS {
            return Err(NoteError::TooLong {
                chars,
                max: MAX_NOTE_CHARS,
            });
        }
        Ok(Self(text))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A note as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Note {
    /// Identifies the note.
    pub id: NoteId,
    /// What the note says.
    pub text: NoteText,
    /// When the note was made (RFC 3339, UTC).
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn blank_texts_are_refused() {
        for text in ["", " ", "\n\t ", "\u{3000}"] {
            assert_eq!(NoteText::parse(text), Err(NoteError::Blank), "{text:?}");
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(NoteText::parse("ü".repeat(MAX_NOTE_CHARS)).is_ok());
        let error = NoteText::parse("ü".repeat(MAX_NOTE_CHARS + 1)).expect_err("one too many");
        assert_eq!(error.code(), "text_too_long");
    }

    #[test]
    fn a_note_is_serialized_with_a_utc_timestamp() {
        let note = Note {
            id: NoteId(3),
            text: NoteText::parse("buy tea").expect("a valid text"),
            created_at: "2025-03-01T12:30:00.25Z".parse().expect("a valid time"),
        };
        let expected = json!({"id": 3, "text": "buy tea", "created_at": "2025-03-01T12:30:00.25Z"});
        assert_eq!(serde_json::to_value(note).expect("plain JSON"), expected);
    }

    proptest! {
        #[test]
        fn accepted_texts_are_kept_unchanged(text in any::<String>()) {
            if let Ok(parsed) = NoteText::parse(text.clone()) {
                prop_assert_eq!(parsed.as_str(), text.as_str());
            }
        }

        #[test]
        fn the_rules_are_exactly_blank_and_length(text in "\\PC{0,2100}") {
            let fits = text.chars().count() <= MAX_NOTE_CHARS;
            let valid = fits && !text.trim().is_empty();
            prop_assert_eq!(NoteText::parse(text).is_ok(), valid);
        }
    }
}
