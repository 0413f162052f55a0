import { type FormEvent, useState } from "react";

interface NewNoteFormProps {
  /** Resolves to whether the note was added; if not, the text stays for another try. */
  onAdd: (text: string) => Promise<boolean>;
}

export function NewNoteForm({ onAdd }: NewNoteFormProps) {
  const [text, setText] = useState("");
  const [adding, setAdding] = useState(false);

  async function submit() {
    setAdding(true);
    const added = await onAdd(text);
    if (added) setText("");
    setAdding(false);
  }

  function handleSubmit(event: FormEvent) {
    event.preventDefault();
    if (!adding) void submit();
  }

  return (
    <form className="new-note" onSubmit={handleSubmit}>
      <label htmlFor="new-note-text">New note</label>
      <input
        id="new-note-text"
        type="text"
        autoComplete="off"
        required
        readOnly={adding}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <button type="submit" disabled={adding}>
        Add note
      </button>
    </form>
  );
}
