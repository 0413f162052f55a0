import type { Note } from "../api/types";
import { NoteItem } from "./NoteItem";

interface NoteListProps {
  notes: Note[];
  onDelete: (id: number) => Promise<boolean>;
}

export function NoteList({ notes, onDelete }: NoteListProps) {
  if (notes.length === 0) {
    return <p className="quiet">No notes yet.</p>;
  }

  const newestFirst = notes.toSorted((a, b) => b.id - a.id);
  return (
    <ul className="notes">
      {newestFirst.map((note) => (
        <NoteItem key={note.id} note={note} onDelete={onDelete} />
      ))}
    </ul>
  );
}
