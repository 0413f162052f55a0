import { useState } from "react";
import type { Note } from "../api/types";

interface NoteItemProps {
  note: Note;
  onDelete: (id: number) => Promise<boolean>;
}

export function NoteItem({ note, onDelete }: NoteItemProps) {
  const [deleting, setDeleting] = useState(false);

  async function handleDelete() {
    setDeleting(true);
    const deleted = await onDelete(note.id);
    if (!deleted) setDeleting(false);
  }

  return (
    <li className="note">
      <div>
        <p className="note-text">{note.text}</p>
        <time className="quiet" dateTime={note.created_at}>
          {new Date(note.created_at).toLocaleString()}
        </time>
      </div>
      <button
        type="button"
        aria-label={`Delete note: ${note.text}`}
        disabled={deleting}
        onClick={() => void handleDelete()}
      >
        Delete
      </button>
    </li>
  );
}
