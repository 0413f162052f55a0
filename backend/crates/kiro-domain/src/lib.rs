//! The rules of the service: what a greeting and a note are.
//!
//! Nothing in this crate reads a file, opens a socket or knows about HTTP or
//! SQL, so everything here can be tested without setting anything up.

mod error;
mod note;

use serde::Serialize;
use utoipa::ToSchema;

pub use error::NoteError;
pub use note::{MAX_NOTE_CHARS, Note, NoteId, NoteText};

/// What every visitor is told.
pub const GREETING_TEXT: &str = "Hello from Kiro";

/// The answer to a visitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Greeting {
    /// The text shown to the visitor.
    pub message: &'static str,
    /// How many greetings have been served, this one included.
    #[serde(skip)]
    pub visits: u64,
}

/// Greets a visitor; `visits` is the number of greetings served so far,
/// this one included.
///
/// Never inlined, so that a breakpoint on `kiro_domain::greeting` always hits.
#[inline(never)]
pub fn greeting(visits: u64) -> Greeting {
    Greeting {
        message: GREETING_TEXT,
        visits,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn greeting_carries_the_text_and_the_count() {
        let greeting = greeting(7);
        assert_eq!(greeting.message, GREETING_TEXT);
        assert_eq!(greeting.visits, 7);
    }

    #[test]
    fn only_the_message_is_serialized() {
        let value = serde_json::to_value(greeting(1)).expect("a greeting is plain JSON");
        assert_eq!(value, json!({ "message": GREETING_TEXT }));
    }
}
