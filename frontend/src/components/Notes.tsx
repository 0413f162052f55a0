import { useNotes } from "../hooks/useNotes";
import { ErrorMessage } from "./ErrorMessage";
import { NewNoteForm } from "./NewNoteForm";
import { NoteList } from "./NoteList";

export function Notes() {
  const { notes, error, load, add, remove } = useNotes();

  if (notes === null && error === null) {
    return <p className="quiet">Loading notes…</p>;
  }
  if (notes === null) {
    return (
      <>
        <ErrorMessage>{error}</ErrorMessage>
        <button type="button" onClick={() => void load()}>
          Try again
        </button>
      </>
    );
  }
  return (
    <>
      <NewNoteForm onAdd={add} />
      {error !== null && <ErrorMessage>{error}</ErrorMessage>}
      <NoteList notes={notes} onDelete={remove} />
    </>
  );
}
